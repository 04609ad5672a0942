"""Where pairs go, what shares a grid, and what stays float."""

import re

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.core.errors import PassError

from tests.helpers import graph_of, ops, reasons, relative_error, run_ort, run_pass

RNG = np.random.default_rng(5)
QUANTIZE = "quantize{measure=false,calibration=min-max}"
AS_IT_IS = "quantize{measure=false,lower=false}"
# Biases as they were, but for rounding.
UNSHIFTED = "quantize{measure=false,calibration=min-max,correct-bias=false}"


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(8, 3, 3, 3),
    "b": normal(8),
    "v": normal(8, 8, 3, 3),
    "d": normal(8, 1, 3, 3),
    "tw": normal(8, 4, 2, 2),
    "tb": normal(4),
    "m": normal(8, 5),
    "n": normal(5),
    "shape": np.array([0, -1], np.int64),
    "axes": np.array([2, 3], np.int64),
    "scales": np.array([1, 1, 2, 2], np.float32),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
    "zero": np.array(0, np.float32),
    "six": np.array(6, np.float32),
    "one": np.array(1, np.float32),
    "half": np.array(0.5, np.float32),
}
FEEDS = [{"x": normal(2, 3, 8, 8)} for _ in range(4)]


def quantized(body, *, pipeline=QUANTIZE, outputs="float[] y", opset=20, target="cpu"):
    used = {
        k: v
        for k, v in WEIGHTS.items()
        if k in body.replace(",", " ").replace(")", " ").split() or f"({k}" in body
    }
    text = (
        f'<ir_version: 10, opset_import: ["" : {opset}]>\n'
        f"g (float[N, 3, 8, 8] x) => ({outputs}) {{ {body} }}"
    )
    graph = graph_of(text, used)
    return graph, run_pass(graph, pipeline, feeds=FEEDS, target=target)


def pairs(graph):
    """Return how many QuantizeLinear the graph has, and the names of what they read."""
    return [node.inputs[0].name for node in graph.nodes if node.op == "QuantizeLinear"]


def skeleton(graph):
    """Return the operators other than the pairs."""
    return [op for op in ops(graph) if op not in ("QuantizeLinear", "DequantizeLinear")]


def grid_of(graph, name):
    node = next(n for n in graph.nodes if n.op == "QuantizeLinear" and n.inputs[0].name == name)
    return tuple(float(t.values) for t in node.inputs[1:])


@pytest.mark.parametrize(("target", "largest"), [("cpu{isa=avx2}", 63), ("cuda", 127)])
def test_a_convolution_gets_its_pairs_weights_and_bias(target, largest):
    body = "y = Conv<pads=[1, 1, 1, 1]>(x, w, b)"
    graph, result = quantized(body, pipeline=UNSHIFTED, target=target)
    made = result.graph
    conv = next(node for node in made.nodes if node.op == "Conv")
    assert pairs(made) == ["x", "y_float"]
    activation, weight, bias = (tensor.inputs[0] for tensor in conv.inputs)
    assert {node.op for node in (activation, weight, bias)} == {"DequantizeLinear"}
    assert weight.inputs[0].dtype == np.int8
    assert weight.inputs[1].shape == (8,)
    assert weight.attrs["axis"] == 0
    assert np.abs(weight.inputs[0].values).reshape(8, -1).max(axis=1).tolist() == [largest] * 8
    assert bias.inputs[0].dtype == np.int32
    np.testing.assert_allclose(
        bias.inputs[1].values, activation.inputs[1].values * weight.inputs[1].values, rtol=1e-6
    )
    step = bias.inputs[1].values
    assert np.all(np.abs(bias.inputs[0].values * step - WEIGHTS["b"]) <= step * 0.5001)
    lowest, highest = (
        f(feed["x"].min() if f is min else feed["x"].max() for feed in FEEDS) for f in (min, max)
    )
    scale, zero = grid_of(made, "x")
    assert scale == pytest.approx((highest - lowest) / 255, rel=1e-6)
    assert zero == round(-lowest / scale)
    assert made.outputs[0].name == "y"
    assert [t.name for t in graph.inputs] == [t.name for t in made.inputs]


@pytest.mark.parametrize("bound", ["Relu(c)", "Clip(c, zero)", "Clip(c, zero, six)"])
def test_a_bound_that_integers_keep_anyway_goes(bound):
    _, result = quantized(f"c = Conv(x, w, b) y = {bound}", outputs="float[] y")
    assert skeleton(result.graph) == ["Conv"]
    scale, zero = grid_of(result.graph, "y_float")
    assert zero == 0
    assert scale * 255 <= 6 * (1 + 1e-6) or "six" not in bound


def test_a_bound_that_integers_do_not_keep_stays():
    _, result = quantized("c = Conv(x, w, b) y = Clip(c, half, six)")
    assert skeleton(result.graph) == ["Conv", "Clip"]
    assert pairs(result.graph) == ["x", "y_float"]


def test_symmetric_activations_keep_their_relu():
    _, result = quantized(
        "c = Conv(x, w, b) y = Relu(c)",
        pipeline="quantize{measure=false,activations=int8,symmetric=true}",
    )
    assert skeleton(result.graph) == ["Conv", "Relu"]
    assert pairs(result.graph) == ["x", "y_float"]
    assert grid_of(result.graph, "x")[1] == 0


def test_signed_activations_end_at_the_bound_too():
    _, result = quantized(
        "c = Conv(x, w, b) y = Relu(c)", pipeline="quantize{measure=false,activations=int8}"
    )
    assert skeleton(result.graph) == ["Conv"]
    assert grid_of(result.graph, "y_float")[1] == -128


def test_movements_share_one_grid():
    _, result = quantized(
        "c = Conv(x, w, b) r = Relu(c) p = MaxPool<kernel_shape=[2, 2]>(r) "
        'u = Resize<mode="nearest">(p, , scales) t = Transpose<perm=[0, 1, 3, 2]>(u) '
        "y = Conv(t, v)"
    )
    grids = {name: grid_of(result.graph, name) for name in pairs(result.graph)}
    assert set(grids) == {"x", "r", "p", "u", "t", "y_float"}
    assert len({grids[name] for name in "rput"}) == 1
    assert len({grids[name] for name in ("x", "r", "y_float")}) == 3
    shared = {
        id(node.inputs[1])
        for node in result.graph.nodes
        if node.op == "QuantizeLinear" and node.inputs[0].name in "rput"
    }
    assert len(shared) == 1


@pytest.mark.parametrize(
    ("body", "opset"),
    [
        ("o = GatherElements<axis=1>(c, turned)", 20),
        ("o = GatherND(c, both)", 20),
        ("o = Compress<axis=1>(c, every)", 20),
        ("o = ReverseSequence<time_axis=1, batch_axis=0>(c, lengths)", 20),
        ('o = Upsample<mode="nearest">(c, scales)', 9),
    ],
)
def test_whatever_moves_shares_one_grid(body, opset):
    known = WEIGHTS | {
        "turned": np.arange(2 * 8 * 36).reshape(2, 8, 6, 6) % 8,
        "both": np.array([[0], [1]]),
        "every": np.ones(8, bool),
        "lengths": np.array([8, 3]),
    }
    used = {k: v for k, v in known.items() if k in (*re.findall(r"\w+", body), *"wbv")}
    graph = graph_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]>\n'
        f"g (float[2, 3, 8, 8] x) => (float[] y) {{ c = Conv(x, w, b) {body} y = Conv(o, v) }}",
        used,
    )
    result = run_pass(graph, QUANTIZE, feeds=FEEDS, target="cpu")
    grids = {name: grid_of(result.graph, name) for name in pairs(result.graph)}
    assert {"x", "c", "o"} <= set(grids)
    assert grids["c"] == grids["o"] != grids["x"]


def test_an_interpolation_makes_new_values():
    graph = graph_of(
        '<ir_version: 8, opset_import: ["" : 9]>\n'
        "g (float[2, 3, 8, 8] x) => (float[] y) "
        '{ c = Conv(x, w, b) m = Upsample<mode="linear">(c, scales) y = Conv(m, v) }',
        {k: WEIGHTS[k] for k in ("w", "b", "v", "scales")},
    )
    result = run_pass(graph, QUANTIZE, feeds=FEEDS, target="cpu")
    assert "it interpolates, which makes new values" in reasons(result)


def test_what_moves_behind_the_last_integer_stays_float():
    _, result = quantized("c = Conv(x, w, b) y = Reshape(c, shape)")
    assert pairs(result.graph) == ["x", "c_scaled"]


def test_what_moves_before_the_first_integer_moves_integers():
    _, result = quantized("p = Transpose<perm=[0, 1, 3, 2]>(x) y = Conv(p, w)")
    assert pairs(result.graph) == ["x", "p", "y_float"]
    assert grid_of(result.graph, "x") == grid_of(result.graph, "p")


def test_a_graph_input_is_padded_before_it_is_quantized():
    _, result = quantized("p = Pad(x, pads) y = Conv(p, w)")
    assert pairs(result.graph) == ["p", "y_float"]


def test_concat_joins_on_one_grid():
    _, result = quantized(
        "a = Conv(x, w) b2 = Conv(x, w, b) k = Concat<axis=1>(a, b2) "
        "y = MaxPool<kernel_shape=[2, 2]>(k) z = GlobalAveragePool(y) q = Mul(k, z) "
        "o = Identity(q)",
        outputs="float[] o",
    )
    grids = {name: grid_of(result.graph, name) for name in pairs(result.graph)}
    assert grids["a"] == grids["b2"] == grids["k"] == grids["y"]
    assert grids["q"] != grids["k"]


def test_what_is_never_negative_keeps_its_grid_beside_what_is():
    _, result = quantized(
        "a = Conv(x, w) e = Conv(x, w, b) r = Relu(e) k = Concat<axis=1>(a, r) "
        "g = GlobalAveragePool(k) y = Identity(g)"
    )
    grids = {name: grid_of(result.graph, name) for name in pairs(result.graph)}
    assert grids["r"][1] == 0
    assert grids["a"] == grids["k"] != grids["r"]
    assert "Relu" not in ops(result.graph)


def test_residual_additions_and_gates_are_integers():
    _, result = quantized(
        "a = Conv<pads=[1, 1, 1, 1]>(x, w, b) r = Relu(a) e = Conv<pads=[1, 1, 1, 1]>(r, v) "
        "s = Add(e, r) u = Relu(s) g = GlobalAveragePool(u) h = Conv<kernel_shape=[1, 1]>(g, p) "
        "i = Sigmoid(h) j = Mul(u, i) y = Conv(j, v)".replace(
            "<kernel_shape=[1, 1]>(g, p)", "<pads=[1, 1, 1, 1]>(g, v)"
        )
    )
    assert pairs(result.graph) == ["x", "r", "e", "u", "g", "h", "i", "j", "y_float"]
    assert "Relu" not in ops(result.graph)


def test_gemm_and_matmul_give_floats_where_floats_are_read():
    _, result = quantized(
        "c = Conv(x, w, b) g = GlobalAveragePool(c) f = Flatten(g) y = Gemm(f, m, n)"
    )
    assert pairs(result.graph) == ["x", "c", "g", "f"]
    assert grid_of(result.graph, "g") == grid_of(result.graph, "f")
    gemm = next(node for node in result.graph.nodes if node.op == "Gemm")
    assert gemm.inputs[1].inputs[0].attrs["axis"] == 1
    assert gemm.inputs[2].inputs[0].inputs[0].dtype == np.int32


def test_a_transposed_convolution_has_scales_along_its_outputs():
    body = "a = Conv(x, w, b) y = ConvTranspose<strides=[2, 2]>(a, tw, tb)"
    _, result = quantized(body, pipeline=AS_IT_IS)
    node = next(node for node in result.graph.nodes if node.op == "ConvTranspose")
    assert node.inputs[1].inputs[0].attrs["axis"] == 1
    assert node.inputs[1].inputs[0].inputs[1].shape == (4,)


def test_a_grouped_transposed_convolution_repeats_its_scales_in_the_bias():
    grouped = {**WEIGHTS, "tw": normal(8, 2, 2, 2)}
    text = """g (float[N, 3, 8, 8] x) => (float[] y) {
        a = Conv(x, w, b) y = ConvTranspose<strides=[2, 2], group=2>(a, tw, tb) }"""
    graph = graph_of(text, {k: grouped[k] for k in ("w", "b", "tw", "tb")})
    result = run_pass(graph, "quantize{measure=false,lower=false,correct-bias=false}", feeds=FEEDS)
    node = next(node for node in result.graph.nodes if node.op == "ConvTranspose")
    bias = node.inputs[2].inputs[0]
    scale = bias.inputs[1].values
    assert scale.shape == (4,)
    np.testing.assert_array_equal(scale[:2], scale[2:])
    assert np.all(np.abs(bias.inputs[0].values * scale - WEIGHTS["tb"]) <= scale * 0.5001)


def test_options_choose_operators_nodes_and_formats():
    body = "a = Conv(x, w, b) r = Relu(a) y = Conv(r, v)"
    _, result = quantized(body, pipeline="quantize{measure=false,operators=[Gemm]}")
    assert result.edits == 0
    _, result = quantized(body, pipeline="quantize{measure=false,exclude=[y]}")
    assert pairs(result.graph) == ["x", "r"]
    _, result = quantized(
        body, pipeline="quantize{measure=false,per-channel=false,weights=int4,activations=int16}"
    )
    assert result.graph.opset == 21
    weight = next(n for n in result.graph.nodes if n.op == "Conv").inputs[1].inputs[0]
    assert weight.inputs[0].dtype.name == "int4"
    assert weight.inputs[1].values.shape == ()
    assert {n.inputs[2].dtype for n in result.graph.nodes if n.op == "QuantizeLinear"} == {
        np.dtype(np.int16)
    }


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("quantize{exclude=[cnv]}", "does not have"),
        ("quantize{operators=[conv]}", "'Conv'"),
        ("quantize{weights=int9}", "weights is 'int9'"),
        ("quantize{weights=float8}", "weights is 'float8'"),
        ("quantize{activations=int1}", "activations is 'int1'"),
    ],
)
def test_wrong_options_are_refused_by_name(pipeline, message):
    with pytest.raises(PassError, match=message):
        quantized("y = Conv(x, w, b)", pipeline=pipeline)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("a = Conv(x, w, b) y = Softmax(a)", None),
        ("a = Conv(x, w, b) y = Sigmoid(a)", "it makes a graph output, which stays float"),
        (
            "a = Conv(x, w, b) s = Mul(a, half) y = Conv(s, v)",
            "an operand is constant, which stays float",
        ),
        (
            "a = Conv(x, w, b) p = Pad(a, pads, one) y = Conv(p, v)",
            "it pads with a value other than 0",
        ),
        (
            'a = Conv(x, w, b) u = Resize<mode="linear">(a, , scales) y = Conv(u, v)',
            "it interpolates, which makes new values",
        ),
        (
            "a = Conv(x, w, b) g = GlobalAveragePool(a) f = Flatten(g) "
            "y = Gemm<alpha=0.5>(f, m, n)",
            "alpha or beta of the Gemm is not 1; fold them into the weights first",
        ),
    ],
)
def test_what_stays_float_says_why(body, reason):
    _, result = quantized(body)
    assert reasons(result) == ({reason} if reason else set())


def test_a_quantized_graph_is_left_alone_or_extended():
    _, partly = quantized(
        "a = Conv(x, w, b) g = GlobalAveragePool(a) f = Flatten(g) y = Gemm(f, m, n)",
        pipeline="quantize{measure=false,operators=[Gemm]}",
    )
    count = len(pairs(partly.graph))
    left = planish.Pipeline.parse(QUANTIZE).run(partly.graph, FEEDS, target="cpu{isa=avx2}")
    assert left.edits == 0
    assert "quantized already" in left.records[0].remarks[0]
    assert len(left.records[0].remarks) == 1  # nothing of weights that got no bits
    more = run_pass(partly.graph, "quantize{measure=false,extend=true}", feeds=FEEDS)
    assert len(pairs(more.graph)) > count
    assert len(pairs(more.graph)) == len(set(pairs(more.graph)))
    int8 = [
        n for n in more.graph.nodes if n.op == "DequantizeLinear" and n.inputs[0].dtype == np.int8
    ]
    assert len(int8) == 2


def test_shared_weights_are_stored_once():
    _, result = quantized(
        "a = Conv<pads=[1, 1, 1, 1]>(x, w, b) e = Conv<pads=[1, 1, 1, 1]>(x, w, b) s = Add(a, e) "
        "y = Conv(s, v)"
    )
    convs = [node for node in result.graph.nodes if node.op == "Conv"][:2]
    stored = {id(conv.inputs[1].inputs[0].inputs[0]) for conv in convs}
    assert len(stored) == 1


def test_fused_operators_are_opened_first():
    body = "c = Conv(x, w, b) s = Sigmoid(c) a = Mul(c, s) r = Conv(a, v) y = Relu(r)"
    graph, _ = quantized(body)
    fused = planish.Pipeline.parse("exact").run(graph).graph
    assert any(node.domain == "planish" for node in fused.nodes)
    result = run_pass(fused, QUANTIZE, feeds=FEEDS)
    assert not any(node.domain == "planish" for node in result.graph.nodes)
    assert not result.graph.functions


def test_old_models_are_raised_to_the_opset_of_scales_along_an_axis():
    text = """<ir_version: 7, opset_import: ["" : 11]>
    g (float[N, 3, 8, 8] x) => (float[] y) { y = Conv(x, w, b) }"""
    graph = graph_of(text, {k: WEIGHTS[k] for k in "wb"})
    result = run_pass(graph, QUANTIZE, feeds=FEEDS)
    assert result.graph.opset == 13
    assert pairs(result.graph) == ["x", "y_float"]


def test_the_result_is_near_the_original_and_standard():
    graph, result = quantized(
        "a = Conv<pads=[1, 1, 1, 1]>(x, w, b) r = Relu(a) e = Conv<pads=[1, 1, 1, 1]>(r, v) "
        "s = Add(e, r) g = GlobalAveragePool(s) f = Flatten(g) y = Gemm(f, m, n)",
        outputs="float[N, 5] y",
    )
    found = planish.compare(graph, result.graph, FEEDS)
    assert found.sqnr_db > 30
    model = planish.to_model(result.graph)
    onnx.checker.check_model(model)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    assert {entry.domain for entry in model.opset_import} == {""}
    feed = FEEDS[0]
    expected = run_ort(model, feed)["y"]
    optimized = planish.lower(result.graph, threads=1)(feed)["y"]
    # The integer kernels round sums once more than the float ones that stand for them here.
    assert relative_error(expected, optimized) < 0.02


def test_relu_behind_a_concat_needs_no_kernel():
    _, result = quantized(
        "a = Conv(x, w, b) e = Conv(x, w) k = Concat<axis=1>(a, e) r = Relu(k) "
        "p = MaxPool<kernel_shape=[2, 2]>(r) g = GlobalAveragePool(p) y = Identity(g)"
    )
    assert "Relu" not in ops(result.graph)
    assert isinstance(result.graph, gs.Graph)
