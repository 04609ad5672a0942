"""equalize-ranges: the function stays, ranges level out, what cannot be scaled is left alone."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.passes.quantize.grids.formats import WEIGHT8
from planish.passes.quantize.grids.grid import grid_of_weights

from tests.helpers import (
    assert_same_function,
    model_using,
    ops,
    reasons,
    run_ort,
    run_pass,
)

PASS = "equalize-ranges"
RNG = np.random.default_rng(5)
FACTORS = np.float32([100, 1, 0.01, 10, 3, 0.3, 0.05, 30])


def _normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def _rows(weight):
    """Scale the rows of a weight [M, ...] by very unequal factors."""
    return weight * np.resize(FACTORS, len(weight)).reshape(-1, *[1] * (weight.ndim - 1))


WEIGHTS = {
    "w1": _rows(_normal(8, 3, 3, 3)),
    "b1": _normal(8) * FACTORS,
    "v1": _rows(_normal(8, 3, 1, 1)),
    "dw": _rows(_normal(8, 1, 3, 3)),
    "bd": _normal(8),
    "w2": _normal(4, 8, 1, 1),
    "w2wide": _normal(4, 16, 1, 1),
    "w2half": _normal(4, 4, 1, 1),
    "grouped": _normal(4, 4, 1, 1),
    "up": _normal(8, 4, 2, 2),
    "t1": np.ascontiguousarray(_rows(_normal(8, 3, 2, 2)).swapaxes(0, 1)),
    "flat": _normal(8 * 36, 5),
    "gemm": _normal(5, 8),
    "head": _normal(8, 5),
    "cross": _normal(8, 4),
    "bias5": _normal(5),
    "slope": np.abs(_normal(8, 1, 1)),
    "zero": np.float32(0),
    "six": np.float32(6),
    "vast": np.float32(1e6),
    "minus_vast": np.float32(-1e6),
    "tiny": np.float32(1e-5),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
    "crossing": np.array([0, 1, 0, 0, 0, 0, 0, 0], np.int64),
    "target": np.array([0, -1], np.int64),
    "halves": np.array([4, 4], np.int64),
    "scales": np.float32([1, 1, 2, 2]),
    "wide": np.float32([1, 2, 1, 1]),
    "columns": np.array([0, 8, 36], np.int64),
    "first": np.array([1, 2], np.int64),
}
CONV = "c = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)"
RELU = f"{CONV} r = Relu(c)"
LAST = "y = Conv(r, w2)"

FIRES = {
    "nothing between": f"{CONV} y = Conv(c, w2)",
    "Relu": f"{RELU} {LAST}",
    "LeakyRelu": f"{CONV} r = LeakyRelu <alpha = 0.3> (c) {LAST}",
    "Abs": f"{CONV} r = Abs(c) {LAST}",
    "Neg": f"{CONV} r = Neg(c) {LAST}",
    "LpPool": f"{CONV} r = LpPool <kernel_shape = [2, 2]> (c) {LAST}",
    "ReduceL2": f"{RELU} f = ReduceL2 <keepdims = 0> (r, axes) y = MatMul(f, head)",
    "PRelu": f"{CONV} r = PRelu(c, slope) {LAST}",
    "Clip from 0": f"{CONV} r = Clip(c, zero) {LAST}",
    "depthwise": f"{RELU} d = Conv <group = 8> (r, dw, bd) s = Relu(d) y = Conv(s, w2)",
    "grouped": f"{RELU} y = Conv <group = 2> (r, grouped)",
    "MaxPool": f"{CONV} r = MaxPool <kernel_shape = [2, 2]> (c) {LAST}",
    "AveragePool": f"{CONV} r = AveragePool <kernel_shape = [2, 2]> (c) {LAST}",
    "Pad": f"{CONV} r = Pad(c, pads, zero) {LAST}",
    "Resize": f'{CONV} r = Resize <mode = "nearest"> (c, , scales) {LAST}',
    "gate": f"{CONV} p = GlobalAveragePool(c) e = Conv(p, square) g = Sigmoid(e) "
    f"r = Mul(c, g) {LAST}",
    "Transpose and back": f"{CONV} t = Transpose <perm = [0, 2, 3, 1]> (c) "
    f"u = Relu(t) r = Transpose <perm = [0, 3, 1, 2]> (u) {LAST}",
    "ConvTranspose reads": f"{RELU} y = ConvTranspose <strides = [2, 2]> (r, up)",
    "ConvTranspose makes": f"r = ConvTranspose(x, t1, b1) {LAST}",
    "Concat": f"{RELU} q = Conv <pads = [0, 0, 0, 0]> (x, v1) "
    "k = Concat <axis = 1> (r, q) y = Conv(k, w2wide)",
    "Split": f"{RELU} k, l = Split <axis = 1> (r, halves) a = Conv(k, w2half) "
    "b = Conv(l, grouped) y = Add(a, b)",
    "sum of two": f"{RELU} q = Conv(x, v1) k = Add(r, q) y = Conv(k, w2)",
    "two readers": f"{RELU} a = Conv(r, w2) d = Conv <group = 8> (r, dw) "
    "m = MaxPool <kernel_shape = [4, 4]> (d) n = MaxPool <kernel_shape = [6, 6]> (a) "
    "k = Conv(m, w2) y = Add(k, n)".replace("k = Conv(m, w2)", "k = Conv(m, grouped2)"),
    "Flatten": f"{RELU} f = Flatten(r) y = MatMul(f, flat)",
    "Reshape": f"{RELU} f = Reshape(r, target) y = MatMul(f, flat)",
    "pooled Gemm": f"{RELU} p = GlobalAveragePool(r) f = Flatten(p) "
    "y = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (f, gemm, bias5)",
    "ReduceMean": f"{RELU} f = ReduceMean <keepdims = 0> (r, axes) y = MatMul(f, head)",
    "MatMul of rows": f"{RELU} k = Reshape(r, columns) t = Transpose <perm = [0, 2, 1]> (k) "
    "m = MatMul(t, head) y = Add(bias5, m)",
    "MatMul makes": "f = ReduceMean <keepdims = 0> (x, axes) m = MatMul(f, m1) a = Add(m, b1) "
    "r = Relu(a) y = MatMul(r, head)",
}
WEIGHTS |= {
    "square": _normal(8, 8, 1, 1),
    "grouped2": _normal(4, 8, 1, 1),
    "axes": np.array([2, 3], np.int64),
    "m1": np.ascontiguousarray(_rows(_normal(8, 3)).T),
}
# Again and again: samples held back are then like those that are not.
FEEDS = [{"x": _normal(2, 3, 6, 6)} for _ in range(3)] * 2
OTHER = {"x": 3 * _normal(2, 3, 6, 6)}


def _model(body, batch="N"):
    return model_using(WEIGHTS, body, f"float[{batch}, 3, 6, 6] x")


# Wider activations weigh noise otherwise, whatever the operators are: test_properties.py has them.
@pytest.mark.parametrize(
    "options",
    ["", "{per-channel=false}", pytest.param("{activation-bits=16}", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("body", FIRES.values(), ids=FIRES)
def test_fires_and_keeps_the_function(body, options):
    model = _model(body)
    graph = planish.load(model)
    result = run_pass(graph, PASS + options, feeds=FEEDS)
    assert ops(result.graph) == ops(graph)
    if not options:
        assert result.edits >= 1
    # Nothing here has a bound, so that the function is the same for every input.
    assert_same_function(model, result.graph, OTHER)
    assert_same_function(model, result.graph, {"x": 1e3 * OTHER["x"]})


THROUGH = "its channels go through {}, which does not pass a scale on"
STAYS = {
    "Sigmoid": (f"{CONV} r = Sigmoid(c) {LAST}", THROUGH.format("Sigmoid")),
    "the gate's own channels": (
        f"{CONV} p = GlobalAveragePool(c) g = Sigmoid(p) r = Mul(c, g) {LAST}",
        THROUGH.format("Sigmoid"),
    ),
    "square": (f"{CONV} r = Mul(c, c) {LAST}", THROUGH.format("Mul")),
    "what divides": (f"{CONV} r = Div(six, c) {LAST}", THROUGH.format("Div")),
    "sum with a constant": (f"{CONV} r = Add(c, six) {LAST}", THROUGH.format("Add")),
    "Clip above 0": (f"{CONV} r = Clip(c, tiny) {LAST}", THROUGH.format("Clip")),
    "Pad of ones": (f"{CONV} r = Pad(c, pads, six) {LAST}", THROUGH.format("Pad")),
    "Pad of channels": (
        f"{CONV} r = Pad(c, crossing, zero) y = Conv(r, w29)",
        THROUGH.format("Pad"),
    ),
    "Resize of channels": (
        f'{CONV} r = Resize <mode = "nearest"> (c, , wide) y = Conv(r, w2wide)',
        THROUGH.format("Resize"),
    ),
    "mean of channels": (
        f"{CONV} r = ReduceMean(c, first) y = Conv(r, w21)",
        THROUGH.format("ReduceMean"),
    ),
    "Concat with the input": (
        f"{RELU} k = Concat <axis = 2> (r, r8) y = Conv(k, w2)",
        THROUGH.format("Concat"),
    ),
    "a bound": (
        f"{CONV} r = Clip(c, zero, vast) {LAST}",
        "its bound would have to be scaled too; headroom=2 scales channels beneath it",
    ),
    "a bound that is reached": (
        f"{CONV} r = Clip(c, zero, tiny) {LAST}",
        "its bound is reached on the feeds",
    ),
}
WEIGHTS |= {
    "w29": _normal(4, 9, 1, 1),
    "w21": _normal(4, 1, 1, 1),
    "r8": _normal(2, 8, 6, 6),
}


@pytest.mark.parametrize(("body", "reason"), STAYS.values(), ids=STAYS)
def test_leaves_alone(body, reason):
    graph = planish.load(_model(body, batch=2))
    reached = reason == "its bound is reached on the feeds"
    result = run_pass(graph, PASS + "{headroom=2}" * reached, feeds=FEEDS)
    assert result.edits == 0
    found = reasons(result) - {"its channels are a graph output"}
    assert found == ({reason} if reason else set())


def test_channels_beneath_a_bound_keep_room():
    model = _model(f"{CONV} r = Clip(c, zero, thousand) y = Conv(r, w2)")
    graph = planish.load(model)
    result = run_pass(graph, PASS + "{headroom=2}", feeds=FEEDS)
    assert result.edits == 1
    for feed in FEEDS:
        assert_same_function(model, result.graph, feed)
    conv = result.graph.nodes[0]
    shown = model_using(
        {"w": conv.inputs[1].values, "b": conv.inputs[2].values},
        "y = Conv <pads = [1, 1, 1, 1]> (x, w, b)",
        "float[N, 3, 6, 6] x",
    )
    before = model_using(WEIGHTS, f"{CONV} y = Identity(c)", "float[N, 3, 6, 6] x")
    high = np.max([run_ort(shown, f)["y"].max(axis=(0, 2, 3)) for f in FEEDS], axis=0)
    old = np.max([run_ort(before, f)["y"].max(axis=(0, 2, 3)) for f in FEEDS], axis=0)
    scaled = high > old * 1.001
    assert scaled.any()
    assert (high[scaled] <= 500.1).all()
    np.testing.assert_allclose(high[old > 1000], old[old > 1000], rtol=1e-5)


WEIGHTS["thousand"] = np.float32(1000)


def test_bounds_stay_without_feeds():
    graph = planish.load(_model(f"{CONV} r = Clip(c, zero, thousand) y = Conv(r, w2)"))
    result = run_pass(graph, PASS + "{headroom=2}")
    assert result.edits == 0
    assert "no feeds show whether its bound is reached" in reasons(result)


def test_ranges_fill_their_tensor():
    """With fine weights, of channels from 0 on, the whole range for each is best: R^2 / t^2.

    Others than the samples may reach further, a quarter of an octave before they leave the range.
    """
    model = _model(f"{RELU} {LAST}")
    result = run_pass(planish.load(model), PASS + "{weight-bits=16}", feeds=FEEDS)
    conv = result.graph.nodes[0]
    shown = model_using(
        {"w": conv.inputs[1].values, "b": conv.inputs[2].values},
        "y = Conv <pads = [1, 1, 1, 1]> (x, w, b)",
        "float[N, 3, 6, 6] x",
    )
    reach = np.max([run_ort(shown, f)["y"].max(axis=(0, 2, 3)) for f in FEEDS], axis=0)
    np.testing.assert_allclose(np.sort(reach)[:-1], reach.max() / 2**0.25, rtol=1e-4)


def test_one_grid_for_all_rows_loses_less():
    model = _model(f"{RELU} d = Conv <group = 8> (r, dw, bd) s = Relu(d) y = Conv(s, w2)")
    graph = planish.load(model)
    result = run_pass(graph, PASS + "{per-channel=false, activation-bits=16}", feeds=FEEDS)
    expected = run_ort(model, FEEDS[0])["y"]
    errors = []
    for each in (graph, result.graph):
        rounded = planish.load(planish.to_model(each))
        for node in rounded.nodes:
            if node.op == "Conv":
                weight = node.inputs[1].values
                node.inputs[1].values = grid_of_weights(weight, WEIGHT8, None).round(weight)
        found = run_ort(planish.to_model(rounded), FEEDS[0])["y"]
        errors.append(np.square(found - expected).sum())
    assert errors[1] < errors[0]


def test_shared_weights_stay():
    body = "c = Conv(x, v1) r = Relu(c) y = Conv(r, w2) z = Conv(x, v1)"
    model = model_using(WEIGHTS, body, "float[N, 3, 6, 6] x", outputs="float[] z, ")
    result = run_pass(planish.load(model), PASS, feeds=FEEDS)
    assert result.edits == 0
    assert "its weight is shared" in reasons(result)


def test_weights_on_a_grid_stay():
    rounded = grid_of_weights(WEIGHTS["w2"], WEIGHT8, 0).round(WEIGHTS["w2"])
    model = model_using({**WEIGHTS, "w2": rounded}, f"{RELU} {LAST}", "float[N, 3, 6, 6] x")
    result = run_pass(planish.load(model), PASS, feeds=FEEDS)
    assert result.edits == 0
    assert "its weights lie on an integer grid already" in reasons(result)


def test_what_a_subgraph_reads_stays():
    model = _model(
        f"{RELU} o = ReduceMax <keepdims = 0> (x) q = Greater(o, zero) "
        "k = If <then_branch = t () => (float[] p) { p = Identity(r) }, "
        "else_branch = e () => (float[] n) { n = Neg(r) }> (q) "
        "a = Conv(r, w2) b = Conv(k, grouped2) y = Add(a, b)"
    )
    result = run_pass(planish.load(model), PASS, feeds=FEEDS)
    assert result.edits == 0
    assert "its channels are read in a subgraph" in reasons(result)


def test_same_bytes_twice():
    model = _model(f"{RELU} d = Conv <group = 8> (r, dw, bd) s = Relu(d) y = Conv(s, w2)")
    first, second = (
        planish.to_model(run_pass(planish.load(model), PASS, feeds=FEEDS).graph) for _ in range(2)
    )
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )


def test_what_is_fixed_fixes_what_is_added_to_it():
    body = f"{RELU} q = Conv(x, v1) s = Sigmoid(q) k = Add(r, q) a = Conv(k, w2) "
    model = _model(body + "b = Conv(s, grouped2) y = Add(a, b)")
    result = run_pass(planish.load(model), PASS, feeds=FEEDS)
    assert result.edits == 0
    assert [d.reason for d in result.records[0].declined][:2] == [THROUGH.format("Sigmoid")] * 2


UNLIKE = np.resize(FACTORS, 64)


def _samples(count, freedom):
    """Draw Student's t: with few degrees of freedom a largest value says little of others."""
    drawn = np.random.default_rng(3).standard_t(freedom, (count, 1, 64, 1, 1))
    return [{"x": x.astype(np.float32)} for x in drawn]


def _between_layers(factors):
    """Return a model with 64 channels, as large as `factors`, that its last layer weighs alike."""
    weights = {
        "w1": np.diag(factors)[:, :, None, None].astype(np.float32),
        "w2": _normal(8, 64, 1, 1) / factors[:, None, None].astype(np.float32),
    }
    return model_using(
        weights, "c = Conv(x, w1) r = Relu(c) y = Conv(r, w2)", "float[1, 64, 1, 1] x"
    )


@pytest.mark.parametrize("samples", [4, 16, 64])
def test_ranges_that_few_samples_show_stay(samples):
    """Channels alike: those with the largest values on the feeds do not have them on others."""
    model = _between_layers(np.ones(64))
    result = run_pass(planish.load(model), PASS, feeds=_samples(samples, freedom=4))
    assert result.edits == 0
    assert "would lower the noise by less than 5 %" in "".join(reasons(result))


def test_ranges_that_differ_beyond_chance_are_equalized():
    graph = planish.load(_between_layers(UNLIKE))
    drawn = _samples(200, freedom=100)
    plain, scaled = (
        planish.compare(
            graph,
            planish.Pipeline.parse(text).run(graph, drawn[:16], verify="off").graph,
            drawn[16:],
        )
        for text in (
            "quantize{measure=false,guard=off}",
            f"{PASS},quantize{{measure=false,guard=off}}",
        )
    )
    assert scaled.outputs[0].sqnr_db > plain.outputs[0].sqnr_db + 15


def test_one_sample_shows_nothing_of_others():
    graph = planish.load(_between_layers(UNLIKE))
    result = run_pass(graph, PASS, feeds=_samples(1, freedom=100))
    assert result.edits == 0
    assert "one sample does not show what others reach" in reasons(result)
