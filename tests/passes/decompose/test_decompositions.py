"""Decompositions on graphs: what they replace, by what, how well, and what they leave alone."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import planish
from planish.ir.core.errors import PlanishError
from planish.ir.ops.masks import mask_name
from planish.passes.analysis.cost import cost
from planish.passes.analysis.observe import stages
from planish.passes.decompose.substitute_depthwise import SubstituteDepthwise
from planish.passes.engine import stopwatch
from planish.passes.engine.context import Context

from tests.helpers import (
    assert_same_function,
    graph_of,
    model_of,
    ops,
    reasons,
    relative_error,
    run_ort,
    run_pass,
)

ALL = ("substitute-depthwise", "decompose-svd", "decompose-spatial", "decompose-tucker")
PLAIN = "max-error=none,measure=false"


def _normal(*shape, seed=0, scale=1.0):
    values = np.random.default_rng(seed).standard_normal(shape) * scale
    return values.astype(np.float32)


def _run(model, pipeline, feeds=None, **kwargs):
    kwargs.setdefault("verify", "off")
    return run_pass(planish.load(model), pipeline, feeds=feeds, **kwargs)


def _exact(kind, out, channels, kernel):
    """Return [out, channels, *kernel] that the pass for `kind` gives exactly at rank two."""
    ones = (1,) * len(kernel)
    parts = {
        "substitute-depthwise": ((out, channels, *ones), (1, channels, *kernel)),
        "decompose-svd": ((out, 1, *ones), (1, channels, *ones)),
        "decompose-spatial": ((out, 1, 1, kernel[-1]), (1, channels, kernel[0], 1)),
        "decompose-tucker": ((out, 1, *ones), (1, channels, *ones), (1, 1, *kernel)),
    }[kind]
    terms = [[_normal(*shape, seed=seed + i) for i, shape in enumerate(parts)] for seed in (0, 7)]
    return sum(math.prod(term, start=np.float32(1)) for term in terms)


def _conv(kind, kernel, attrs, *, shape=None, out=18, channels=12, group=1, bias=True):
    weights = {"w": _exact(kind, out, channels // group, kernel)}
    if bias:
        weights["b"] = _normal(out, seed=3)
    attrs = f"<{attrs}>" if attrs else ""
    shape = shape or ", ".join(["N", str(channels), "9", "8", "5"][: 2 + len(kernel)])
    return model_of(
        f"g (float[{shape}] x) => (float[] y) {{ y = Conv {attrs} (x, w{', b' * bias}) }}",
        weights,
    )


def _feeds(channels=12, sizes=(9, 8), count=4, batch=2, seed=5):
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((channels, channels)) * np.geomspace(1, 0.1, channels)
    samples = generator.standard_normal((count, batch, channels, *sizes))
    mixed = np.cumsum(np.einsum("cd,nbd...->nbc...", mixing, samples), axis=3)
    return [{"x": sample.astype(np.float32)} for sample in mixed + 1]


PAIRS = ["Conv"] * 4 + ["Add"]
CASES = [
    ("substitute-depthwise", "terms=2", (3, 3), "pads=[1,1,1,1]", 1, PAIRS),
    ("substitute-depthwise", "terms=2", (3, 3), "strides=[2,1],dilations=[1,2]", 1, PAIRS),
    ("substitute-depthwise", "terms=2", (2, 3), 'auto_pad="SAME_LOWER",group=2', 2, PAIRS),
    ("substitute-depthwise", "terms=2", (5,), "pads=[2,1],strides=[2]", 1, PAIRS),
    ("substitute-depthwise", "terms=2", (2, 3, 2), "group=3", 3, PAIRS),
    ("decompose-svd", "rank=2", (1, 1), "strides=[2,1],pads=[1,0,0,1]", 1, ["Conv"] * 2),
    ("decompose-svd", "rank=2", (1,), "", 1, ["Conv"] * 2),
    ("decompose-spatial", "rank=2", (3, 3), "pads=[1,1,1,1]", 1, ["Conv"] * 2),
    ("decompose-spatial", "rank=2", (3, 2), "strides=[2,3],pads=[1,0,2,1]", 1, ["Conv"] * 2),
    ("decompose-spatial", "rank=2", (3, 3), 'auto_pad="SAME_UPPER",strides=[2,2]', 1, ["Conv"] * 2),
    ("decompose-spatial", "rank=2", (2, 3), 'auto_pad="VALID",dilations=[3,2]', 1, ["Conv"] * 2),
    ("decompose-tucker", "rank=2", (3, 3), "pads=[1,0,2,1],strides=[2,1]", 1, ["Conv"] * 3),
    ("decompose-tucker", "rank=2", (3,), "dilations=[2]", 1, ["Conv"] * 3),
    ("decompose-tucker", "rank=2", (2, 2, 2), "", 1, ["Conv"] * 3),
]


@pytest.mark.parametrize(("name", "option", "kernel", "attrs", "group", "expected"), CASES)
@pytest.mark.parametrize("with_feeds", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_weights_of_that_rank_keep_the_function(
    name, option, kernel, attrs, group, expected, with_feeds, bias
):
    model = _conv(name, kernel, attrs, group=group, bias=bias)
    feeds = _feeds(sizes=(9, 8, 5)[: len(kernel)])
    result = _run(model, f"{name}{{{option},{PLAIN}}}", feeds if with_feeds else None)
    assert result.edits == 1
    assert sorted(ops(result.graph)) == sorted(expected)
    assert_same_function(model, result.graph, feeds[0])
    assert result.graph.outputs[0].name == "y"
    for node in result.graph.nodes:
        for reader in node.outputs[0].outputs:  # what is padded with zeros must have no bias
            assert reader.op != "Conv" or len(node.inputs) == 2


def test_a_substitute_is_depthwise_and_pointwise():
    model = _conv("substitute-depthwise", (3, 3), "pads=[1,1,1,1],strides=[2,2]")
    graph = _run(model, f"substitute-depthwise{{terms=3,{PLAIN}}}").graph
    nodes = [node for node in graph.nodes if node.op == "Conv"]
    assert ops(graph).count("Add") == 2
    assert len(nodes) == 6
    for first, second in [(n, n.outputs[0].outputs[0]) for n in nodes if n.inputs[0].name == "x"]:
        assert first.inputs[1].values.shape == (12, 1, 3, 3)
        assert first.attrs["group"] == 12
        assert first.attrs["strides"] == [2, 2]
        assert second.inputs[1].values.shape == (18, 12, 1, 1)
        assert "strides" not in second.attrs
    assert sum(len(node.inputs) == 3 for node in nodes) == 1


LAYERS = {
    "gemm": ("float[N, 20] x", "y = Gemm (x, w, b)", (20, 24)),
    "scaled": ("float[N, 20] x", "y = Gemm <alpha=0.5, beta=2.0> (x, w, b)", (20, 24)),
    "transposed": ("float[20, N] x", "y = Gemm <transA=1, transB=1> (x, w, b)", (24, 20)),
    "plain": ("float[N, 20] x", "y = MatMul (x, w)", (20, 24)),
    "added": ("float[N, 3, 20] x", "a = MatMul (x, w) y = Add (b, a)", (20, 24)),
}


@pytest.mark.parametrize("spelling", LAYERS)
@pytest.mark.parametrize("opset", [9, 13, 22])
@pytest.mark.parametrize("with_feeds", [False, True])
def test_matrices_of_that_rank_keep_the_function(spelling, opset, with_feeds):
    declared, body, shape = LAYERS[spelling]
    weights = {"w": _normal(shape[0], 3) @ _normal(3, shape[1], seed=1), "b": _normal(24, seed=2)}
    if "b" not in re.findall(r"\w+", body):
        del weights["b"]
    header = f'<ir_version: 8, opset_import: ["" : {opset}]>'
    model = model_of(f"{header} g ({declared}) => (float[] y) {{ {body} }}", weights)
    sizes = {"transposed": (20, 7), "added": (5, 3, 20)}.get(spelling, (7, 20))
    feeds = [{"x": _normal(*sizes, seed=seed)} for seed in range(20)]
    result = _run(model, f"decompose-svd{{rank=3,{PLAIN}}}", feeds if with_feeds else None)
    assert result.edits == 1
    op = ops(graph_of(f"g ({declared}) => (float[] y) {{ {body} }}", weights))[0]
    assert ops(result.graph) == [op, op] + ["Add"] * (spelling == "added")
    assert_same_function(model, result.graph, feeds[0])


def _two_layers(seed=0):
    text = """g (float[N, 12, 9, 8] x) => (float[] y) {
        a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
        r = Relu (a)
        y = Conv <pads = [1, 1, 1, 1]> (r, v)
    }"""
    weights = {
        "w": _normal(16, 12, 3, 3, seed=seed, scale=0.1),
        "b": _normal(16, seed=seed + 1),
        "v": _normal(10, 16, 3, 3, seed=seed + 2, scale=0.1),
    }
    return model_of(text, weights)


CHOICES = {
    "substitute-depthwise": "terms=2",
    "decompose-spatial": "rank=6",
    "decompose-tucker": "rank=6",
}


def _variance_lost(model, graph, feeds):
    pairs = [(run_ort(model, f)["y"], run_ort(planish.to_model(graph), f)["y"]) for f in feeds]
    parts = (np.concatenate(part).swapaxes(0, 1) for part in zip(*pairs, strict=True))
    y, found = (part.reshape(10, -1) for part in parts)
    return float(np.mean(((y - found) ** 2).mean(axis=1) / y.var(axis=1)))


def _errors(result):
    found = [re.search(r"error (\S+) of its", r) for r in result.records[0].remarks]
    return [float(match.group(1)) for match in found if match]


@pytest.mark.parametrize("name", CHOICES)
def test_the_error_told_is_that_of_the_outputs(name):
    model, feeds = _two_layers(), _feeds()
    pipeline = f"{name}{{{CHOICES[name]},{PLAIN},positions=1000000}}"
    result = _run(model, pipeline, feeds)
    assert result.edits == 2
    assert _errors(result)[1] == pytest.approx(_variance_lost(model, result.graph, feeds), rel=0.06)


@pytest.mark.parametrize("name", CHOICES)
def test_data_and_what_was_replaced_before_are_made_up_for(name):
    model, feeds = _two_layers(), _feeds(count=12)
    pipeline = f"{name}{{{CHOICES[name]},{PLAIN}}}"
    blind = _run(model, pipeline)
    fitted = _run(model, pipeline, feeds)
    assert any("no feeds" in remark for remark in blind.records[0].remarks)
    others = _feeds(seed=6)
    for sample in others:  # the same correlations, other samples
        sample["x"] = (sample["x"] * 0 + _feeds(count=1, seed=5)[0]["x"]).astype(np.float32)
    assert _variance_lost(model, fitted.graph, others) < 0.6 * _variance_lost(
        model, blind.graph, others
    )


def test_later_layers_are_fitted_to_what_earlier_ones_give():
    model, feeds = _two_layers(), _feeds(count=12)
    option = f"terms=1,{PLAIN}"
    whole = _run(model, f"substitute-depthwise{{{option}}}", feeds).graph
    names = [node.name or node.outputs[0].name for node in planish.load(model).nodes]
    first = _run(model, f"substitute-depthwise{{{option},exclude={names[2]}}}", feeds).graph
    second = _run(model, f"substitute-depthwise{{{option},exclude={names[0]}}}", feeds).graph
    # The first's substitute with the second's as it is on undisturbed inputs.
    for node, other in zip(whole.nodes[3:], second.nodes[2:], strict=True):
        assert node.inputs[1].values.shape == other.inputs[1].values.shape
    joined = planish.load(planish.to_model(whole))
    for node, other in zip(joined.nodes[3:], second.nodes[2:], strict=True):
        node.inputs[1].values = other.inputs[1].values
        if len(other.inputs) > 2:
            node.inputs[2].values = other.inputs[2].values
    assert ops(first) == ["Conv", "Conv", "Relu", "Conv"]
    assert _variance_lost(model, whole, feeds) < 0.9 * _variance_lost(model, joined, feeds)


def test_terms_are_the_fewest_under_the_error():
    model, feeds = _two_layers(), _feeds()
    errors = [
        _errors(_run(model, f"substitute-depthwise{{terms={t},{PLAIN}}}", feeds)) for t in (1, 2)
    ]
    limit = (errors[0][0] + errors[1][0]) / 2
    options = f"max-error={limit},measure=false,exclude={_names(model)[2]}"
    result = _run(model, f"substitute-depthwise{{{options}}}", feeds)
    assert ops(result.graph).count("Conv") == 5
    result = _run(model, f"substitute-depthwise{{{options},most-terms=1}}", feeds)
    (reason,) = {r for r in reasons(result) if r != "it is excluded"}
    assert reason == (
        f"with depthwise and 1x1 its error is {errors[0][0]:.2g}, above max-error {limit}"
    )


def _names(model):
    return [node.name or node.outputs[0].name for node in planish.load(model).nodes]


RANKED = {
    "decompose-svd": "g (float[N, 128] x) => (float[] y) { y = Gemm (x, w) }",
    "decompose-spatial": "g (float[N, 32, 8, 8] x) => (float[] y) { y = Conv (x, w) }",
    "decompose-tucker": "g (float[N, 32, 8, 8] x) => (float[] y) { y = Conv (x, w) }",
}


def _ranked(name, noise=0.0):
    if name == "decompose-svd":
        w = _normal(128, 40) @ _normal(40, 128, seed=1) + noise * _normal(128, 128, seed=2)
    else:
        if name == "decompose-spatial":
            first, second = _normal(32, 20, 1, 3), _normal(20, 32, 3, 1, seed=1)
            w = np.einsum("orxb,rcax->ocab", first, second)
        else:
            core, b = _normal(9, 10, 3, 3, seed=1), _normal(10, 32, seed=3)
            w = np.einsum("or,rsab,sc->ocab", _normal(32, 9), core, b)
        w = w + noise * _normal(32, 32, 3, 3, seed=2)
    return model_of(RANKED[name], {"w": w.astype(np.float32)})


def _macs(result):
    text = next(r for r in result.records[0].remarks if "MACs" in r)
    return float(re.search(r"\((\S+)\)", text).group(1))


@pytest.mark.parametrize("name", RANKED)
def test_ratio_bounds_what_is_left(name):
    result = _run(_ranked(name, 1.0), f"{name}{{ratio=0.6,measure=false}}")
    assert 0.25 < _macs(result) <= 0.6


@pytest.mark.parametrize("name", RANKED)
def test_max_error_takes_the_smallest_ranks(name):
    model = _ranked(name)
    exact = _run(model, f"{name}{{max-error=1e-9,measure=false}}")
    loose = _run(model, f"{name}{{max-error=0.5,measure=false}}")
    x = {"x": _normal(2, *planish.load(model).inputs[0].shape[1:], seed=4)}
    assert_same_function(model, exact.graph, x)
    assert exact.edits == loose.edits == 1
    assert _macs(loose) < _macs(exact)
    assert _errors(loose)[0] <= 0.5
    full = _run(_ranked(name, 9.0), f"{name}{{max-error=1e-6,measure=false}}")
    assert full.edits == 0
    assert all("error" in reason for reason in reasons(full))


@pytest.mark.parametrize("name", RANKED)
def test_without_options_the_rank_is_that_above_the_noise(name):
    result = _run(_ranked(name, 0.1), f"{name}{{measure=false}}")
    assert result.edits == 1
    inner = result.graph.nodes[0].inputs[1].values
    channels = inner.shape[1] if name == "decompose-svd" else inner.shape[0]
    assert channels == {"decompose-svd": 48, "decompose-spatial": 32, "decompose-tucker": 16}[name]


@pytest.mark.parametrize("name", RANKED)
def test_fixed_ranks_above_max_error_or_without_a_gain_are_declined(name):
    model = _ranked(name, 1.0)
    result = _run(model, f"{name}{{rank=2,max-error=0.01,measure=false}}")
    assert result.edits == 0
    assert all("above max-error 0.01" in reason for reason in reasons(result))
    result = _run(model, f"{name}{{rank=96,measure=false}}")
    assert all("multiply-accumulates, and takes" in reason for reason in reasons(result))
    assert result.edits == 0


@pytest.fixture
def toy(monkeypatch):
    """A target on which a graph takes the time given for its number of nodes."""

    def set_times(times):
        def time(graphs, feed, target, *, seconds, seed):
            for graph in graphs:
                assert set(feed) == {t.name for t in graph.inputs}
            return [times[len(graph.nodes)] for graph in graphs]

        monkeypatch.setitem(stopwatch.STOPWATCHES, "toy", time)

    return set_times


def test_what_is_not_faster_is_left_and_can_be_replayed(toy):
    model, feeds = _two_layers(), _feeds()
    toy({1: 1.0, 5: 1.0, 3: 1.0})
    result = _run(model, "substitute-depthwise{terms=2}", feeds, target="toy")
    assert result.edits == 0
    text = "it is 1.00 times as fast on toy, which is not worth an error"
    assert [text in reason for reason in reasons(result)] == [True, True]
    toy({1: 1.0, 5: 0.5, 3: 2.0, 11: 1.0})
    result = _run(model, "substitute-depthwise{terms=2,max-error=none}", feeds, target="toy")
    assert result.edits == 2
    remarks = result.records[0].remarks
    assert sum("2.00 times as fast, error" in remark for remark in remarks) == 2
    assert remarks[-1].startswith("2 of 2 layers replaced: MACs ")
    assert remarks[-1].endswith(", 2.00 times as fast on toy")


def test_a_measured_choice_is_told_as_options(monkeypatch):
    model, feeds = _two_layers(), _feeds()

    def time(graphs, feed, target, *, seconds, seed):
        slow = graphs[0].nodes[0].inputs[1].shape[0] == 10  # the second layer
        return [1.0, 1.0 if slow else 0.5]

    monkeypatch.setitem(stopwatch.STOPWATCHES, "toy", time)
    options = {"terms": 2, "max-error": "none"}
    text = ",".join(f"{key}={value}" for key, value in options.items())
    result = _run(model, f"substitute-depthwise{{{text}}}", feeds, target="toy")
    assert result.edits == 1
    again = result.records[0].remarks[-1].removeprefix("the same without measuring: ")
    assert again.startswith("substitute-depthwise{")
    replayed = _run(model, again, feeds)
    assert _bytes(replayed) == _bytes(result)


def _bytes(result):
    return planish.to_model(result.graph).SerializeToString(deterministic=True)


@pytest.mark.parametrize("name", CHOICES)
def test_the_same_seed_gives_the_same_bytes(name):
    model, feeds = _two_layers(), _feeds()
    pipeline = f"{name}{{{CHOICES[name]},{PLAIN},positions=50}}"
    assert _bytes(_run(model, pipeline, feeds)) == _bytes(_run(model, pipeline, feeds))


def test_without_a_stopwatch_macs_count():
    result = _run(_two_layers(), "substitute-depthwise{terms=1,max-error=none}", target="abacus")
    assert result.edits == 2
    assert any("no backend times target 'abacus'" in r for r in result.records[0].remarks)


LEFT = {
    "substitute-depthwise": {
        "group=12": "it has one input channel a group: depthwise already",
    },
    "decompose-spatial": {
        "group=12": "it is a grouped convolution",
    },
    "decompose-tucker": {
        "group=2": "it is a grouped convolution",
    },
}


@pytest.mark.parametrize("name", LEFT)
def test_grouped_and_depthwise_convolutions_are_left(name):
    for attrs, reason in LEFT[name].items():
        group = int(attrs.removeprefix("group="))
        weights = {"w": _normal(24, 12 // group, 3, 3)}
        text = f"g (float[N, 12, 9, 8] x) => (float[] y) {{ y = Conv <{attrs}> (x, w) }}"
        result = _run(model_of(text, weights), f"{name}{{{CHOICES[name]},{PLAIN}}}")
        assert reasons(result) == {reason}


def test_other_windows_are_left_to_others():
    text = "g (float[N, 12, 9, 8] x) => (float[] y) { y = Conv (x, w) }"
    point, thin = _normal(16, 12, 1, 1), _normal(16, 12, 3, 1)
    for name in CHOICES:
        result = _run(model_of(text, {"w": point}), f"{name}{{{CHOICES[name]},{PLAIN}}}")
        assert result.edits == 0
        assert reasons(result) == set()
    result = _run(model_of(text, {"w": thin}), f"decompose-spatial{{rank=2,{PLAIN}}}")
    assert reasons(result) == {"its window is one wide"}
    result = _run(model_of(text, {"w": thin}), f"decompose-svd{{rank=2,{PLAIN}}}")
    assert reasons(result) == set()
    transposed = "g (float[N, 12, 9, 8] x) => (float[] y) { y = ConvTranspose (x, w) }"
    for name in CHOICES:
        found = _run(
            model_of(transposed, {"w": _normal(12, 16, 3, 3)}), f"{name}{{{CHOICES[name]},{PLAIN}}}"
        )
        assert reasons(found) == {"it is a transposed convolution"}


@pytest.mark.parametrize("name", ALL)
def test_weights_that_cannot_be_read_are_left(name):
    kernel = (1, 1) if name == "decompose-svd" else (3, 3)
    option = CHOICES.get(name, "rank=2")
    w = _normal(16, 12, *kernel)
    mask = {"w": w, mask_name("w"): (w > 0).astype(np.float32)}
    masked = """g (float[N, 12, 9, 8] x) => (float[] y) { m = Mul (w, w_mask) y = Conv (x, m) }"""
    result = _run(model_of(masked, mask), f"{name}{{{option},{PLAIN}}}")
    assert reasons(result) == {"its weight is masked; run apply-masks first"}
    shape = ", ".join(map(str, w.shape))
    given = f"g (float[N, 12, 9, 8] x, float[{shape}] w) => (float[] y) {{ y = Conv (x, w) }}"
    result = _run(model_of(given), f"{name}{{{option},{PLAIN}}}")
    assert reasons(result) == {"the weight of Conv is not constant"}
    w = w.copy()
    w[0, 0] = np.nan
    text = "g (float[N, 12, 9, 8] x) => (float[] y) { y = Conv (x, w) }"
    result = _run(model_of(text, {"w": w}), f"{name}{{{option},{PLAIN}}}")
    assert reasons(result) == {"its weights are not finite"}


def test_factors_are_left_by_every_decomposition():
    model = _conv("decompose-tucker", (3, 3), "pads=[1,1,1,1]")
    once = _run(model, f"decompose-tucker{{rank=4,{PLAIN}}}").graph
    for name in ALL:
        option = CHOICES.get(name, "rank=1")
        result = run_pass(once, f"{name}{{{option},{PLAIN},extend=true}}", verify="off")
        assert result.edits == 0
        assert reasons(result) == {"it is a factor of a decomposition already"}
    result = run_pass(once, f"decompose-tucker{{rank=1,{PLAIN}}}", verify="off")
    assert "extend=true looks at its other layers" in result.records[0].remarks[0]


def test_extend_goes_on_where_a_run_stopped():
    model = _two_layers()
    option = f"terms=1,{PLAIN}"
    names = _names(model)
    once = _run(model, f"substitute-depthwise{{{option},exclude={names[2]}}}").graph
    assert run_pass(once, f"substitute-depthwise{{{option}}}", verify="off").edits == 0
    pipeline = f"substitute-depthwise{{{option},extend=true}}"
    assert run_pass(once, pipeline, verify="off").edits == 1


def test_half_precision_is_kept():
    w = _normal(16, 12, 3, 3, scale=0.1).astype(np.float16)
    text = "g (float16[N, 12, 9, 8] x) => (float16[] y) { y = Conv (x, w) }"
    model = model_of(text, {"w": w})
    feeds = [{"x": feed["x"].astype(np.float16)} for feed in _feeds()]
    for name, option in CHOICES.items():
        result = _run(model, f"{name}{{{option},{PLAIN}}}", feeds)
        assert result.edits == 1
        for node in result.graph.nodes:
            assert all(t.dtype == np.float16 for t in node.inputs if t.name != "x" and t.dtype)
        found = run_ort(planish.to_model(result.graph), feeds[0])["y"]
        assert found.dtype == np.float16
        assert relative_error(run_ort(model, feeds[0])["y"], found) < 0.5
    huge = model_of(text, {"w": np.full((16, 12, 3, 3), 60000, np.float16)})
    result = _run(huge, f"substitute-depthwise{{terms=1,{PLAIN}}}")
    assert reasons(result) == {"its factors are not finite in float16"}


def test_shared_weights_and_bodies():
    text = """g (float[N, 12, 9, 8] x) => (float[] y, float[] z) {
        y = Conv (x, w)
        r = Relu (x)
        z = Conv <strides = [2, 2]> (r, w)
    }"""
    model = model_of(text, {"w": _normal(16, 12, 3, 3)})
    result = _run(model, f"substitute-depthwise{{terms=1,{PLAIN}}}", _feeds())
    assert result.edits == 2
    assert ops(result.graph).count("Conv") == 4


def test_fused_operators_are_opened_only_where_something_is_replaced():
    model = _two_layers()
    fused = planish.Pipeline.parse("fuse-conv-activation").run(planish.load(model)).graph
    result = run_pass(fused, f"substitute-depthwise{{terms=1,{PLAIN}}}", verify="off")
    assert ops(result.graph) == ["Conv", "Conv", "Relu", "Conv", "Conv"]


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("substitute-depthwise{terms=-1}", "terms is -1"),
        ("substitute-depthwise{most-terms=0}", "most-terms is 0"),
        ("substitute-depthwise{max-error=0}", "max-error is 0"),
        ("substitute-depthwise{positions=0}", "positions is 0"),
        ("decompose-svd{rank=-2}", "rank is -2"),
        ("decompose-tucker{ratio=1.5}", "ratio is 1.5"),
        ("decompose-spatial{ratio=0.5,rank=3}", "rank and ratio exclude each other"),
        ("decompose-svd{exclude=nothing}", "exclude names the node 'nothing'"),
    ],
)
def test_options_that_make_no_sense_are_refused(pipeline, said):
    with pytest.raises(PlanishError, match=said):
        planish.Pipeline.parse(pipeline).run(planish.load(_two_layers()))


def test_terms_above_the_taps_are_declined():
    text = "g (float[N, 12, 9] x) => (float[] y) { y = Conv (x, w) }"
    model = model_of(text, {"w": _normal(40, 12, 2)})
    result = _run(model, f"substitute-depthwise{{terms=3,{PLAIN}}}")
    assert result.edits == 0
    assert len(reasons(result)) == 1


def test_a_gain_has_to_show_twice(monkeypatch):
    times = iter([[1.0, 0.5], [1.0, 0.99]])

    def time(graphs, feed, target, *, seconds, seed):
        return next(times)

    monkeypatch.setitem(stopwatch.STOPWATCHES, "toy", time)
    model = _conv("substitute-depthwise", (3, 3), "")
    graph = planish.load(model)
    pipeline = planish.Pipeline.parse("substitute-depthwise{terms=1,max-error=none}")
    result = pipeline.run(graph, verify="off", target="toy")
    assert result.edits == 0
    (reason,) = reasons(result)
    assert "it is 1.01 times as fast on toy" in reason


@pytest.mark.parametrize("name", [*CHOICES, "decompose-svd"])
def test_layers_of_very_many_columns_are_replaced_too(name, monkeypatch):
    monkeypatch.setattr(stages, "MOST_COLUMNS", 40)
    if name == "decompose-svd":
        weights = {"w": _normal(90, 12) @ _normal(12, 30, seed=1)}
        model = model_of("g (float[N, 90] x) => (float[] y) { y = Gemm (x, w) }", weights)
        feeds = [{"x": _normal(50, 90, seed=seed)} for seed in range(8)]
        option = "rank=12"
    else:
        model = _conv(name, (3, 3), "pads=[1,1,1,1]")
        feeds, option = _feeds(), CHOICES[name].replace("6", "2")
    result = _run(model, f"{name}{{{option},{PLAIN}}}", feeds)
    assert result.edits == 1
    assert any("too many to be looked at together" in r for r in result.records[0].remarks)
    assert_same_function(model, result.graph, feeds[0])


def test_bodies_are_left():
    text = """g (float[2, 12, 9, 8] x, bool c) => (float[] y) {
        y = If (c) <
            then_branch = t () => (float[] a) { a = Conv (x, w) },
            else_branch = e () => (float[] b) { b = Conv <pads = [0, 0, 0, 0]> (x, w) }
        >
    }"""
    model = model_of(text, {"w": _normal(16, 12, 3, 3)})
    result = _run(model, f"substitute-depthwise{{terms=1,{PLAIN}}}")
    assert reasons(result) == {"it stands in the body of an If, Loop or Scan"}


def test_sizes_that_do_not_follow_from_the_inputs_are_declined():
    text = "g (float[] x) => (float[] y) { y = Conv (x, w) }"
    model = model_of(text, {"w": _normal(16, 12, 3, 3)})
    result = _run(model, f"substitute-depthwise{{terms=1,{PLAIN}}}")
    assert reasons(result) == {"the size of its input does not follow from the graph's inputs"}
    assert _run(model, f"substitute-depthwise{{terms=1,{PLAIN}}}", _feeds()).edits == 1


@pytest.mark.parametrize("name", CHOICES)
def test_exact_passes_keep_the_factors(name):
    once = _run(_two_layers(), f"{name}{{{CHOICES[name]},{PLAIN}}}").graph
    after = planish.Pipeline.parse("exact").run(once).graph
    assert cost(after).macs == cost(once).macs
    plain = planish.Pipeline.parse("inline-fused-operators").run(after).graph
    assert sorted(ops(plain)) == sorted(ops(once))
    assert run_pass(after, f"{name}{{{CHOICES[name]},{PLAIN}}}", verify="off").edits == 0


def test_edits_stop_at_the_limit():
    graph = planish.load(_two_layers())
    context = Context(graph, feeds=_feeds(), limit=1)
    SubstituteDepthwise(terms=1, max_error=None, measure=False).run(graph, context)
    assert context.edits == 1
    assert ops(graph) == ["Conv", "Conv", "Relu", "Conv"]


def test_channels_of_small_values_count_like_others():
    """What follows may scale them up again: here all but two are a twentieth of those."""
    w, size = _normal(18, 12, 3, 3), np.full((18, 1, 1, 1), 0.05, np.float32)
    size[:2] = 1
    text = "g (float[N, 12, 9, 8] x) => (float[] y) { y = Conv (x, w) }"
    found = []
    for scale in (np.float32(1), size):
        model, feeds = model_of(text, {"w": w * scale}), _feeds()
        result = _run(model, f"decompose-tucker{{rank=6,{PLAIN}}}", feeds)
        expected = run_ort(model, feeds[0])["y"]
        wrong = expected - run_ort(planish.to_model(result.graph), feeds[0])["y"]
        found.append(wrong.std(axis=(0, 2, 3)) / expected.std(axis=(0, 2, 3)))
    np.testing.assert_allclose(found[1][:2], found[0][:2], rtol=0.5)
    assert found[1].max() < 1.05 * max(found[0].max(), 1.0)


@pytest.mark.parametrize("with_feeds", [False, True])
def test_few_channels_under_a_window_bound_the_rank_of_what_they_give(with_feeds):
    """Every kernel is the same mixture of inputs: one channel and nine taps have rank nine."""
    mixture, kernels = _normal(8, seed=1), _normal(64, 3, 3, seed=2)
    weight = np.einsum("c,okl->ockl", mixture, kernels).astype(np.float32)
    weight += _normal(*weight.shape, seed=3, scale=1e-3)
    text = "g (float[N, 8, 12, 12] x) => (float[] y) { y = Conv (x, w) }"
    feeds = [{"x": _normal(2, 8, 12, 12, seed=4)} for _ in range(3)]
    result = _run(
        model_of(text, {"w": weight}),
        "decompose-tucker{measure=false}",
        feeds if with_feeds else None,
    )
    shapes = [node.inputs[1].values.shape for node in result.graph.nodes if node.op == "Conv"]
    inner, outer = shapes[1][1], shapes[1][0]
    assert result.edits == 1
    assert outer <= 9 * inner
    feed = feeds[0]
    expected = run_ort(model_of(text, {"w": weight}), feed)["y"]
    assert relative_error(expected, run_ort(planish.to_model(result.graph), feed)["y"]) < 1e-2
