"""Windows of one element, movement of nothing and arithmetic in range; each with its near miss."""

from __future__ import annotations

import re

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, model_of, ops, reasons, run_pass

PASS = "eliminate-identities"
X = np.array([-0.0, 2, -2.5, np.inf, 1, np.nan, -np.inf, 1e-42, 0.75], np.float32)
END = 2**63 - 1
W = {
    "s1": np.ones(4, np.float32),
    "s11": np.array([1, 1, 1.0, 1.1], np.float32),
    "own": np.array([1, 1, 3, 3]),
    "roi": np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32),
    "i0": np.zeros(4, np.int64),
    "i1": np.ones(4, np.int64),
    "ends": np.full(4, END),
    "int_max": np.full(4, 2**31 - 1),
    "three": np.full(4, 3),
    "two": np.full(4, 2),
    "minus3": np.full(4, -3),
    "minus1": np.full(4, -1),
    "ax": np.arange(4),
    "spatial": np.array([2, 3]),
    "pair0": np.zeros(2, np.int64),
    "pair3": np.full(2, 3),
    "pairend": np.full(2, END),
    "pairm9": np.full(2, -9),
    "copy": np.array([0, 1, -1, 3]),
    "copy2": np.array([0, -1, 3, 3]),
    "flat": np.array([0, -1, 1, 9]),
    "range3": np.arange(3),
    "wrapped": np.array([-3, 1, -1]),
    "swapped": np.array([1, 0, 2]),
    "yes": np.ones((1, 3), bool),
    "no": np.zeros(1, bool),
    "some": np.array([True, False, True]),
    "f0": np.float32(0),
    "f1": np.float32(1),
    "f6": np.float32(6),
    "fm1": np.float32(-1),
    "finf": np.float32(np.inf),
    "fminf": np.float32(-np.inf),
    "e": np.zeros((1, 0, 3, 3), np.float32),
    "empty": np.zeros(0, np.int64),
}


def _model(body, opset=20, batch="N"):
    words = set(re.findall(r"\w+", body))
    weights = {k: v for k, v in W.items() if k in words}
    return model_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]>\n'
        f"g (float[{batch}, 1, 3, 3] x) => (float[A, B, C, D] y) {{\n"
        f"a = Neg(x) {body} y = Sin(b) }}",
        weights,
    )


def _run(body, opset=20, batch="N"):
    model = _model(body, opset, batch)
    graph = planish.load(model)
    result = run_pass(graph, PASS)
    assert_same_function(model, result.graph, {"x": X.reshape(1, 1, 3, 3)}, 0)
    return graph, result


RESIZE = 'b = Resize <mode = "{}", coordinate_transformation_mode = "{}"> (a, , s1)'
COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
FIRES = [
    *(RESIZE.format(m, c) for m in ("nearest", "linear", "cubic") for c in COORDINATES),
    *(RESIZE.format("linear", "half_pixel_symmetric").replace("<", f"<antialias = {i}, ")
      for i in (0, 1)),
    'b = Resize <mode = "linear", axes = [2, 3]> (a, , , pair3)',
    "b = AveragePool <kernel_shape = [1, 1]> (a)",
    "b = AveragePool <kernel_shape = [1, 1], auto_pad = \"SAME_UPPER\", ceil_mode = 1> (a)",
    "b = MaxPool <kernel_shape = [1, 1], strides = [1, 1], dilations = [2, 2]> (a)",
    "b, i = MaxPool <kernel_shape = [1, 1], pads = [0, 0, 0, 0]> (a)",
    "b = ReduceMean(a, ax1)",
    "b = ReduceSum(a, ax1)",
    "b = ReduceMax <keepdims = 1> (a, ax1)",
    "b = ReduceSum <noop_with_empty_axes = 1> (a)",
    "b = Slice(a, i0, ends, ax)",
    "b = Slice(a, i0, int_max)",
    "b = Slice(a, pairm9, pair3, spatial)",
    "b = Slice(a, pair0, pairend, spatial)",
    "b = Tile(a, i1)",
    "b = Expand(a, i1)",
    "b = Reshape(a, copy)",
    "b = Reshape(a, copy2)",
    "b = Unsqueeze(a, empty)",
    "b = Max(a, a)",
    "b = Min(a, a, a)",
    "b = Split <num_outputs = 1> (a)",
    "b = Gather <axis = 2> (a, range3)",
    "b = Gather <axis = -1> (a, wrapped)",
    "b = Concat <axis = 1> (e, a, e)",
    "b = DepthToSpace <blocksize = 1> (a)",
    "b = SpaceToDepth <blocksize = 1> (a)",
    "b = Where(yes, a, f6)",
    "b = Where(no, f6, a)",
    "b = Pow(a, f1)",
    "b = Clip(a, fminf, finf)",
]  # fmt: skip
W["ax1"] = np.array([1])


@pytest.mark.parametrize("body", FIRES)
@pytest.mark.parametrize("batch", ["N", "1"])
def test_fires(body, batch):
    _, result = _run(body, batch=batch)
    assert ops(result.graph)[0] == "Neg"
    assert ops(result.graph)[-1] == "Sin"
    assert len(ops(result.graph)) == 2
    again = reasons(result)
    assert not again


STAYS = [
    RESIZE.format("linear", "tf_crop_and_resize").replace("a, ,", "a, roi,"),
    'b = Resize <mode = "nearest"> (a, , s11)',
    "b = AveragePool <kernel_shape = [2, 2]> (a)",
    "b = AveragePool <kernel_shape = [1, 1], strides = [2, 2]> (a)",
    "b = LpPool <kernel_shape = [1, 1]> (a)",
    "b = ReduceL1(a, ax1)",
    "b = ReduceMean(a, spatial)",
    "c = ReduceMean <keepdims = 0> (a, ax1) b = Unsqueeze(c, ax1)",
    "b = GlobalAveragePool(a)",
    "b = Slice(a, i0, minus1, ax)",
    "b = Slice(a, minus1, ends, ax)",
    "b = Slice(a, i0, three, ax)",
    "b = Slice(a, pair0, pairend, spatial, pair2)",
    "b = Tile(a, two)",
    "b = Expand(a, three)",
    "b = Reshape(a, flat)",
    "b = Gather <axis = 2> (a, swapped)",
    "b = Where(some, a, f6)",
    "b = Where(yes, f6, a)",
    "b = Pow(a, f6)",
    "b = Clip(a, fminf, f6)",
    "b = Clip(a, , )",
    "c = Exp(a) b = LeakyRelu <alpha = 1.0> (c)",  # a barrier
    "c, d = Split <axis = 2, num_outputs = 2> (a) b = Concat <axis = 2> (c, d)",
]
W["pair2"] = np.full(2, 2)


@pytest.mark.parametrize("body", STAYS)
def test_stays(body):
    graph, result = _run(body)
    assert ops(result.graph) == ops(graph)
    assert result.edits == 0


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("c = Relu(a) b = Relu(c)", ["Relu"]),
        ("c = Abs(a) b = Abs(c)", ["Abs"]),
        ("c = Sigmoid(a) b = Relu(c)", ["Sigmoid"]),
        ("c = Softmax(a) b = Relu(c)", ["Softmax"]),
        ("c = Exp(a) b = LeakyRelu(c)", ["Exp"]),
        ("c = Clip(a, f0, f6) b = Relu(c)", ["Clip"]),
        ("c = Clip(a, f0, f6) b = Clip(c, fm1, f6)", ["Clip"]),
        ("c = Clip(a, f0, f6) b = Clip(c, f0)", ["Clip"]),
        ("c = Clip(a, f0) b = Clip(c, f0)", ["Clip"]),
        ("c = Relu(a) b = Clip(c, f0, finf)", ["Relu"]),
        ("c = Sigmoid(a) b = Clip(c, f0, f1)", ["Sigmoid"]),
        ("c = Relu(a) d = MaxPool <kernel_shape = [2, 2]> (c) b = Relu(d)", ["Relu", "MaxPool"]),
        ("c = Relu(a) d = GlobalAveragePool(c) b = Relu(d)", ["Relu", "GlobalAveragePool"]),
        ("c = Relu(a) d = Transpose <perm = [0, 1, 3, 2]> (c) b = Elu(d)", ["Relu", "Transpose"]),
        ("c = Relu(a) d = Transpose <perm = [0, 1, 3, 2]> (c) b = Celu(d)", ["Relu", "Transpose"]),
        ("c = Relu(a) d = Mish(c) b = Relu(d)", ["Relu", "Mish"]),
        ("c = Relu(a) d = Gelu(c) b = Abs(d)", ["Relu", "Gelu"]),
        ("c = Relu(a) b = PRelu(c, f6)", ["Relu"]),
        ("c = Cos(a) d = Abs(c) q = Mul(d, d) b = Relu(q)", ["Cos", "Abs", "Mul"]),
        ("c = Erf(a) b = Clip(c, fm1, f6)", ["Erf"]),
        ("c = HardSigmoid(a) d = Softplus(c) b = Relu(d)", ["HardSigmoid", "Softplus"]),
        ("c = Sign(a) b = Floor(c)", ["Sign"]),
        ("c = Ceil(a) b = Round(c)", ["Ceil"]),
        ("c = Cos(a) d = Neg(c) b = Neg(d)", ["Cos"]),
    ],
)
def test_values_that_are_in_range(body, kept):
    _, result = _run(f"{body}")
    left = [op for op in ops(result.graph) if op != "Neg"]
    assert left == [*kept, "Sin"]
    assert ops(result.graph).count("Neg") == (2 if "Neg(c)" in body else 1)


@pytest.mark.parametrize(
    "body",
    [
        "c = Tanh(a) b = Relu(c)",
        "c = Clip(a, fm1, f6) b = Relu(c)",
        "c = Relu(a) b = Clip(c, f0, f6)",
        "c = Relu(a) b = Clip(c, f0)",  # which makes infinity finite
        "c = Clip(a, f0, f6) d = Sub(c, f1) b = Relu(d)",
        "c = Clip(a, f0, f6) d = GlobalAveragePool(c) b = Clip(d, f0, f6)",  # rounding
        "c = Clip(a, f6, f0) b = Clip(c, f6, finf)",
        "c = Floor(a) d = Mul(c, f6) b = Floor(d)",
        "c, i = MaxPool <kernel_shape = [2, 2]> (a) d = Cast <to = 1> (i) b = Relu(d)",
    ],
)
def test_values_that_may_be_out_of_range(body):
    graph, result = _run(body)
    assert ops(result.graph) == ops(graph)


def test_not_not():
    model = model_of(
        "g (bool[4] x, bool[4] z) => (bool[4] y) { a = Not(x) b = Not(a) c = And(b, yes) "
        "d = Or(no1, c) y = Or(d, z) }",
        {"yes": np.array(True), "no1": np.zeros(4, bool)},
    )
    result = run_pass(planish.load(model), f"{PASS},eliminate-dead-code")
    assert ops(result.graph) == ["Or"]
    feeds = {"x": np.array([1, 0, 1, 0], bool), "z": np.zeros(4, bool)}
    assert_same_function(model, result.graph, feeds)


def test_integers():
    model = model_of(
        """g (int64[2, 3] x) => (int64[2, 3] y) {
            a = Neg(x) b = Neg(a) c = Abs(b) d = Abs(c)
            e = Clip(d, low, high) y = Clip(e, low5) }""",
        {"low": np.int64(-(2**63)), "high": np.int64(2**63 - 1), "low5": np.int64(5)},
    )
    result = run_pass(planish.load(model), f"{PASS},eliminate-dead-code")
    assert ops(result.graph) == ["Abs", "Clip"]
    feeds = {"x": np.array([[-7, 2, 0], [2**62, -(2**62), 4]])}
    assert_same_function(model, result.graph, feeds)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("a = Neg(x) b = Abs(a) y = Relu(b)", None),  # the least integer stays below zero
        ("a = Relu(x) b = Add(a, a) y = Relu(b)", None),
        ("a = Relu(x) b = Mul(a, a) y = Relu(b)", None),
        ("a = Relu(x) b = ReduceSum <keepdims = 1> (a) y = Relu(b)", None),
        ("a = Relu(x) b = Min(a, x) c = Relu(b) y = Neg(c)", None),
        (
            "a = Relu(x) m = Neg(x) d = Relu(m) b = Max(a, d) c = Relu(b) y = Neg(c)",
            ["Relu", "Neg", "Relu", "Max", "Neg"],
        ),
        ("a = Relu(x) b = Transpose(a) c = Relu(b) y = Neg(c)", ["Relu", "Transpose", "Neg"]),
        ("a = Abs(x) b = Abs(a) y = Neg(b)", ["Abs", "Neg"]),
        ("a = Sign(x) b = Sign(a) y = Neg(b)", ["Sign", "Neg"]),
        ("a = BitwiseNot(x) b = BitwiseNot(a) y = Neg(b)", ["Neg"]),
        ("a = BitwiseOr(x, none) y = Neg(a)", ["Neg"]),
        ("a = BitwiseXor(none, x) y = Neg(a)", ["Neg"]),
        ("a = BitwiseXor(x, x) y = Neg(a)", None),
    ],
)
def test_integers_wrap_around(body, kept):
    used = {"none": np.zeros((1, 3), np.int32)} if "none" in body else {}
    model = model_of(f"g (int32[2, 3] x) => (int32[A, B] y) {{ {body} }}", used)
    graph = planish.load(model)
    result = run_pass(graph, f"{PASS},eliminate-dead-code", verify="off")
    assert ops(result.graph) == (ops(graph) if kept is None else kept)
    least = np.iinfo(np.int32).min
    for values in ([[least, -7, 0], [2**30, 2**31 - 1, 4]], [[2**30, 2**16, 3], [1, 2, 2**15]]):
        assert_same_function(model, result.graph, {"x": np.array(values, np.int32)})


def test_bits_that_do_not_move():
    model = model_of(
        'g (uint8[4] x) => (uint8[4] y) { a = BitShift <direction = "LEFT"> (x, none) '
        "y = BitwiseNot(a) }",
        {"none": np.zeros(1, np.uint8)},
    )
    result = run_pass(planish.load(model), PASS, verify="off")
    assert ops(result.graph) == ["BitwiseNot"]
    assert_same_function(model, result.graph, {"x": np.array([1, 2, 200, 255], np.uint8)})


def test_squeeze_of_nothing():
    """An empty list of axes is read as all of them by some runtimes."""
    for shape, edits in (("2, 3", 1), ("N, 3", 0), ("1, 3", 0)):
        model = model_of(
            f"g (float[{shape}] x) => (float[A, B] y) {{ a = Neg(x) b = Squeeze(a) y = Sin(b) }}"
        )
        assert run_pass(planish.load(model), PASS, verify="off").edits == edits


@pytest.mark.parametrize(
    ("opset", "body", "edits"),
    [
        (7, 'b = Upsample <mode = "nearest", scales = [1.0, 1.0, 1.0, 1.0]> (a)', 1),
        (9, 'b = Upsample <mode = "nearest"> (a, s1)', 1),
        (10, 'b = Resize <mode = "nearest"> (a, s1)', 1),
        (11, 'b = Resize <mode = "nearest"> (a, roi, s1)', 1),
        (11, 'b = Resize <coordinate_transformation_mode = "tf_half_pixel_for_nn", '
             'nearest_mode = "ceil"> (a, roi, s1)', 0),
        (9, "b = Slice <axes = [2], starts = [0], ends = [2147483647]> (a)", 1),
        (9, "b = Slice <axes = [0], starts = [0], ends = [2147483647]> (a)", 1),
        (9, "b = Slice <axes = [2], starts = [-3], ends = [9]> (a)", 1),
        (9, "b = Slice <axes = [2], starts = [-2], ends = [9]> (a)", 0),
        (11, "b = ReduceMean <axes = [1]> (a)", 1),
        (11, "b = ReduceMean <axes = [2]> (a)", 0),
        (10, "c = Clip <min = 0.0, max = 6.0> (a) b = Clip <min = -1.0, max = 6.0> (c)", 1),
        (10, "c = Clip <min = 0.0, max = 6.0> (a) b = Clip <min = 1.0, max = 6.0> (c)", 0),
    ],
)  # fmt: skip
def test_old_opsets(opset, body, edits):
    _, result = _run(body, opset)
    assert result.edits == edits


@pytest.mark.parametrize(
    ("sizes", "slope", "edits"),
    [("N, 4, 3", (4, 1), 1), ("N, 4, 3", (3,), 1), ("N, 4, 1", (3,), 0), ("N, 4, M", (3,), 0)],
)
def test_slopes_over_more_than_their_data_repeat_it(sizes, slope, edits):
    model = model_of(
        f"g (float[{sizes}] x) => (float[] y) {{ a = Abs(x) b = PRelu(a, s) y = Sin(b) }}",
        {"s": np.full(slope, 0.25, np.float32)},
    )
    result = run_pass(planish.load(model), PASS)
    assert result.edits == edits
    for last in (3,) if sizes.endswith("3") else (1,):
        x = np.ones((2, 4, last), np.float32)
        assert_same_function(model, result.graph, {"x": x}, 0)


@pytest.mark.parametrize(
    ("kind", "operator", "edits"),
    [
        ("int64", "ReduceMean", 0),
        ("int32", "ReduceMean", 1),
        ("int64", "ReduceMax", 1),
        ("int64", "ReduceSum", 1),
    ],
)
def test_means_of_one_large_integer(kind, operator, edits):
    """A runtime's mean of integers is a float's, which holds 53 bits; `int32` has fewer."""
    model = model_of(
        f"g ({kind}[3, 1] x) => ({kind}[3, 1] y) "
        f"{{ a = Abs(x) b = {operator} (a, one) y = Neg(b) }}",
        {"one": np.array([1])},
    )
    result = run_pass(planish.load(model), PASS)
    assert result.edits == edits
    largest = np.iinfo(kind).max
    values = np.array([[largest], [-largest], [7]], kind)
    if operator != "ReduceSum":  # ONNX Runtime adds in floats what fits exactly
        assert_same_function(model, result.graph, {"x": values}, 0)


def test_one_position():
    for sizes, edits in (("1, 1", 1), ("1, 2", 0), ("1, M", 0)):
        model = model_of(
            f"g (float[N, 3, {sizes}] x) => (float[N, 3, A, B] y) {{ a = Neg(x) "
            "b = GlobalAveragePool(a) y = Sin(b) }"
        )
        assert run_pass(planish.load(model), PASS).edits == edits


def test_indices_that_are_read():
    _, result = _run(
        "c, i = MaxPool <kernel_shape = [1, 1]> (a) f = Cast <to = 1> (i) b = Add(c, f)"
    )
    assert reasons(result) == {"its indices are read"}


def test_a_state_without_elements_of_unknown_size_stays():
    model = model_of(
        "g (float[N, 3] x, float[K, 3] h) => (float[M, 3] y) { y = Concat <axis = 0> (h, x) }"
    )
    assert run_pass(planish.load(model), PASS).edits == 0
