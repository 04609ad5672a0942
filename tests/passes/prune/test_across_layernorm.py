"""Channels that LayerNormalization takes its statistics over: an option, and what it promises."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx import numpy_helper

import planish
from planish.ir.core.errors import PipelineError

from tests.helpers import Array, model_of, reasons, relative_error, run_ort, run_pass

WIDTH, INNER = 16, 24
PRUNE = "prune{granularity=channel,amount=0.5,multiple=1,across-layernorm=true}"
SHRINK = "shrink-channels{measure=false,across-layernorm=true}"
# A block as ConvNeXt has it: depthwise, normalization over channels, two layers, a residual sum.
NETWORK = """g (float[N, 3, 8, 8] x) => (float[N, 5] y) {
    s = Conv <strides = [2, 2], kernel_shape = [2, 2]> (x, stem, stem_b)
    d = Conv <pads = [1, 1, 1, 1], group = 16> (s, depthwise)
    t = Transpose <perm = [0, 2, 3, 1]> (d)
    n = LayerNormalization <axis = -1, epsilon = 0.001> (t, scale, shift)
    e = MatMul (n, widen)
    f = Add (e, widen_b)
    r = Relu (f)
    c = MatMul (r, narrow)
    m = Mul (c, gamma)
    u = Transpose <perm = [0, 3, 1, 2]> (m)
    a = Add (s, u)
    p = GlobalAveragePool (a)
    q = Flatten (p)
    o = LayerNormalization (q, scale2, shift2)
    y = Gemm (o, head, head_b)
}"""


def _weights() -> dict[str, Array]:
    rng = np.random.default_rng(0)

    def normal(*shape: int, at: float = 0.0) -> Array:
        return (at + rng.normal(size=shape) / 2).astype(np.float32)

    return {
        "stem": normal(WIDTH, 3, 2, 2),
        "stem_b": normal(WIDTH),
        "depthwise": normal(WIDTH, 1, 3, 3),
        "scale": normal(WIDTH, at=1),
        "shift": normal(WIDTH),
        "widen": normal(WIDTH, INNER),
        "widen_b": normal(INNER),
        "narrow": normal(INNER, WIDTH),
        "gamma": normal(WIDTH, at=1),
        "scale2": normal(WIDTH, at=1),
        "shift2": normal(WIDTH),
        "head": normal(WIDTH, 5),
        "head_b": normal(5),
    }


def _model(weights: dict[str, Array] | None = None):
    header = '<ir_version: 8, opset_import: ["" : 17]>\n'
    return model_of(header + NETWORK, weights or _weights())


def _feeds() -> list[dict[str, Array]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.normal(size=(2, 3, 8, 8)).astype(np.float32)} for _ in range(3)]


def _cut(weights: dict[str, Array], kept: Array) -> dict[str, Array]:
    """Leave the channels `kept` of the residual stream, by hand."""
    axes = {"widen": 0, "narrow": 1, "head": 0}
    own = {"stem", "stem_b", "depthwise", "scale", "shift", "gamma", "scale2", "shift2", *axes}
    return {
        name: values.take(kept, axes.get(name, 0)) if name in own else values
        for name, values in weights.items()
    }


def _constants(graph: gs.Graph) -> dict[str, Array]:
    constants = [t for node in graph.nodes for t in node.inputs if isinstance(t, gs.Constant)]
    return {t.name: t.values for t in constants}


def test_without_the_option_they_stay_and_it_is_named():
    result = run_pass(planish.load(_model()), PRUNE.replace(",across-layernorm=true", ""))
    assert any("across-layernorm=true" in reason for reason in reasons(result))
    shrunk = run_pass(result.graph, "shrink-channels{measure=false}")
    assert _constants(shrunk.graph)["stem"].shape[0] == WIDTH
    assert _constants(shrunk.graph)["widen"].shape == (WIDTH, INNER // 2)  # inside of the block


def test_what_is_left_is_the_network_with_fewer_channels():
    """Masked and shrunk, it is the network that has the weights of these channels alone."""
    masked = run_pass(planish.load(_model()), PRUNE)
    assert any("shrink-channels{across-layernorm=true}" in t for t in masked.records[0].remarks)
    shrunk = run_pass(masked.graph, SHRINK)
    assert any("2 normalizations take statistics" in t for t in shrunk.records[0].remarks)
    weights, left = _weights(), planish.to_model(run_pass(shrunk.graph, "apply-masks").graph)
    kept_of = {t.name: numpy_helper.to_array(t) for t in left.graph.initializer}
    kept = np.flatnonzero(np.isin(weights["scale"], kept_of["scale"]))
    assert 0 < len(kept) < WIDTH
    inner = np.flatnonzero(np.isin(weights["widen_b"], kept_of["widen_b"]))
    wanted = _cut(weights, kept)
    wanted["widen"], wanted["narrow"] = wanted["widen"][:, inner], wanted["narrow"][inner]
    wanted["widen_b"] = wanted["widen_b"][inner]
    text = NETWORK.replace("group = 16", f"group = {len(kept)}")
    by_hand = model_of('<ir_version: 8, opset_import: ["" : 17]>\n' + text, wanted)
    written = planish.to_model(shrunk.graph)
    for feed in _feeds():
        assert relative_error(run_ort(by_hand, feed)["y"], run_ort(written, feed)["y"]) <= 1e-5
    assert run_pass(shrunk.graph, SHRINK).edits == 0
    assert run_pass(masked.graph, PRUNE).edits == 0


def test_cutting_is_no_exact_pass_then():
    """Its error is measured and told, and it is not rolled back for it."""
    masked = run_pass(planish.load(_model()), PRUNE)
    result = planish.Pipeline.parse(SHRINK).run(masked.graph, _feeds(), verify="each")
    assert result.records[0].edits
    assert result.records[0].error > 0.01
    assert not result.failures
    exact = planish.Pipeline.parse("shrink-channels{measure=false}")
    assert exact.run(masked.graph, _feeds(), verify="each").records[0].error < 1e-5


@pytest.mark.parametrize("op", ["LayerNormalization", "RMSNormalization"])
def test_where_the_mean_is_zero_it_differs_by_a_scale_alone(op):
    """m_C = (C'/C) m, v_C = (C'/C) v: of rows with their negatives, and rows that are masked."""
    rng = np.random.default_rng(2)
    half = rng.normal(size=(4, 3)).astype(np.float32)
    weights = {
        "w": np.concatenate([half, -half, np.zeros((2, 3), np.float32)]).T.copy(),
        "g": np.ones(10, np.float32),
        "v": np.concatenate([rng.normal(size=(8, 4)), np.zeros((2, 4))]).astype(np.float32),
    }
    text = f"""<ir_version: 11, opset_import: ["" : 23]> g (float[N, 3] x) => (float[N, 4] y) {{
        h = MatMul (x, w) n = {op} <epsilon = 0.0> (h, g) y = MatMul (n, v) }}"""
    result = run_pass(planish.load(model_of(text, weights)), SHRINK)
    assert _constants(result.graph)["g"].shape == (8,)
    feed = {"x": rng.normal(size=(5, 3)).astype(np.float32)}
    graph = planish.lower(planish.load(model_of(text, weights)), backend="onnxruntime")
    before, after = graph(feed)["y"], planish.lower(result.graph, backend="onnxruntime")(feed)["y"]
    np.testing.assert_allclose(before, after * np.sqrt(10 / 8), rtol=1e-4, atol=1e-5)


def test_it_is_of_channels():
    with pytest.raises(PipelineError, match="granularity=channel"):
        planish.Pipeline.parse("prune{across-layernorm=true}")


def test_recover_comes_behind_it():
    """The shrunk network learns from the one that came in."""
    text = f"{PRUNE},{SHRINK},recover{{mode=end-to-end,steps=8,learning-rate=0.002}}"
    result = planish.Pipeline.parse(text).run(planish.load(_model()), _feeds())
    assert not result.failures
    assert _constants(result.graph)["stem"].shape[0] < WIDTH
