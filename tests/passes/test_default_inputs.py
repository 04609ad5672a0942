"""Weights that are graph inputs with defaults, as every initializer was up to IR version 3."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import planish
from planish.ir.core.errors import FeedError

from tests.helpers import model_of, relative_error, run_ort

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(8, 3, 3, 3),
    "b": normal(8),
    "s": normal(8),
    "t": normal(8),
    "m": normal(8),
    "v": np.abs(normal(8)),
    "w2": normal(8, 8, 3, 3),
    "d": normal(8, 1, 3, 3),
    "g": normal(8, 5),
    "gb": normal(5),
    "low": np.float32(0),
    "high": np.float32(6),
    "table": normal(8, 1, 1),
    "axes": np.array([0, -1], np.int64),
}
BODY = """c = Conv<pads = [1, 1, 1, 1]>(x, w, b) n = BatchNormalization(c, s, t, m, v)
    r = Clip(n, low, high) e = Conv<pads = [1, 1, 1, 1]>(r, w2) q = Relu(e)
    k = Conv<pads = [1, 1, 1, 1], group = 8>(q, d) a = Add(k, r) i = Sigmoid(table) j = Mul(a, i)
    p = GlobalAveragePool(j) f = Reshape(p, axes) y = Gemm(f, g, gb)"""
# Of these, some were made inputs by an exporter, or all.
INPUTS = {"all": set(WEIGHTS), "some": {"w2", "gb", "table", "high"}}


def model_with(overridable):
    model = model_of(f"g (float[N, 3, 8, 8] x) => (float[N, 5] y) {{ {BODY} }}", WEIGHTS)
    for held in model.graph.initializer:
        if held.name in overridable:
            info = onnx.helper.make_tensor_value_info(held.name, held.data_type, list(held.dims))
            model.graph.input.append(info)
    return model


PIPELINES = [
    "convert-precision",
    "convert-precision{to=bfloat16}",
    "quantize{measure=false}",
    "simplify,equalize-ranges,round-adaptively,quantize{measure=false}",
    "correct-bias",
    "prune{amount=0.25,granularity=channel,criterion=activation}",
    "prune{amount=0.25,criterion=taylor}",
    "decompose-svd",
    "quantize-weights",
    "exact,quantize{measure=false},recover{steps=2}",
]


@pytest.mark.parametrize("fed", ["data alone", "defaults too"])
@pytest.mark.parametrize("overridable", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_passes_with_feeds_take_defaults_where_nothing_is_fed(pipeline, overridable, fed):
    model = model_with(overridable)
    feeds = [{"x": normal(2, 3, 8, 8)} for _ in range(2)]
    if fed == "defaults too":
        feeds = [feed | {name: np.asarray(WEIGHTS[name]) for name in overridable} for feed in feeds]
    graph = planish.load(model)
    if fed == "defaults too" and "recover" in pipeline:
        with pytest.raises(FeedError, match="training takes samples apart"):
            planish.Pipeline.parse(pipeline).run(graph, feeds)
        return
    result = planish.Pipeline.parse(pipeline).run(graph, feeds, strict=True)
    assert [t.name for t in result.graph.inputs] == [t.name for t in graph.inputs]
    expected = run_ort(model, feeds[0])["y"]
    found = run_ort(planish.to_model(result.graph, portable=True), feeds[0])["y"]
    assert found.shape == expected.shape
    if "prune" not in pipeline:
        assert relative_error(expected, found) < 0.1


@pytest.mark.usefixtures("code_as_it_is")
@pytest.mark.parametrize("backend", ["onnxruntime", "tvm"])
def test_compiled_networks_have_the_defaults(backend, tmp_path):
    pytest.importorskip(backend)
    model = model_with(INPUTS["all"])
    x = normal(2, 3, 8, 8)
    compiled = planish.lower(planish.load(model), backend=backend, threads=1)
    compiled.save(tmp_path / "network")
    loaded = planish.load_compiled(tmp_path / "network", backend=backend, threads=1)
    for feed in ({"x": x}, {"x": x, "w2": 2 * WEIGHTS["w2"], "high": np.array(1, np.float32)}):
        expected = run_ort(model, feed)["y"]
        for network in (compiled, loaded):
            assert relative_error(expected, network(feed)["y"]) < 1e-5
    shown = loaded.interface()
    if shown is not None:
        assert {t.name for t in shown.inputs} == {"x", *WEIGHTS}
        assert [t.name for t in shown.inputs if not hasattr(t, "values")] == ["x"]
