"""Transposes cancel through every operator that works in any layout, and stay where they must."""

from __future__ import annotations

import itertools
import re
from functools import partial

import ml_dtypes
import numpy as np
import pytest

import planish
from planish.ir.ops.opsets import takes_type
from planish.ir.ops.shapes.infer import infer_types

from tests.helpers import assert_same_function, model_of, ops, reasons, run_pass
from tests.work import calls_in

PASS = "eliminate-transposes"
GENERATOR = np.random.default_rng(7)


def normal(*shape):
    return GENERATOR.standard_normal(shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


X = normal(2, 4, 5, 6)  # N, C, H, W
WEIGHTS = {
    "c": normal(4),
    "full": normal(1, 5, 6, 4),
    "column": normal(6, 1),
    "one": np.float32(0.7),
    "slope": np.abs(normal(4)),
    "lo": np.float32(-0.5),
    "hi": np.float32(0.5),
    "hw": ints(1, 2),
    "last": ints(3),
    "neg": ints(-1),
    "first": ints(0),
    "three": ints(3),
    "pads": ints(0, 1, 2, 0, 0, 0, 1, 0),
    "pads2": ints(1, 2),
    "s0": ints(1, 1),
    "e0": ints(4, 5),
    "steps": ints(2, 1),
    "short0": np.array([1, 1], np.int32),
    "short1": np.array([4, 5], np.int32),
    "short2": np.array([1, 2], np.int32),
    "reps": ints(1, 2, 1, 1),
    "tall": ints(1, 5, 1, 1),
    "scales": np.array([1, 2, 2, 1], np.float32),
    "sizes": ints(2, 10, 9, 4),
    "sz": ints(10, 9),
    "k": ints(2),
    "i1": ints(3, 0, 1),
    "i0": np.array(2, np.int64),
    "qs": np.array([0.1, 0.2, 0.3, 0.4], np.float32),
    "qs0": np.float32(0.05),
    "qz": np.zeros(4, np.int8),
    "qz0": np.int8(3),
    "sp": ints(1, 3),
}


def used(body):
    words = set(re.findall(r"\w+", body))
    return {name: values for name, values in WEIGHTS.items() if name in words}


def between(body, opset=20, batch="N", more=()):
    """Return MaxPool -> Transpose -> body, from a to b -> Transpose back -> MaxPool."""
    return model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[{batch}, 4, 5, 6] x) => (float[] y) {{
            p = MaxPool <kernel_shape = [1, 1]> (x)
            a = Transpose <perm = [0, 2, 3, 1]> (p)
            {body}
            q = Transpose <perm = [0, 3, 1, 2]> (b)
            y = MaxPool <kernel_shape = [1, 1]> (q) }}""",
        {**used(body), **dict(more)},
    )


CANCELS = {
    "unary": "t = Relu(a) u = Sigmoid(t) b = Clip(u, lo, hi)",
    "bias": "b = Add(a, c)",
    "constant first": "b = Sub(full, a)",
    "column": "t = Unsqueeze(column, first) b = Mul(a, column)",
    "scalar": "b = Div(a, one)",
    "both sides": "t = Tanh(a) b = Mul(t, a)",
    "PRelu": "b = PRelu(a, slope)",
    "Where": "t = Greater(a, one) b = Where(t, a, c)",
    "Sum": "b = Sum(a, c, full)",
    "Cast": "t = Cast <to = 10> (a) b = Cast <to = 1> (t)",
    "Concat": "t = Neg(a) b = Concat <axis = 3> (a, t)",
    "Concat of rows": "t = Neg(a) b = Concat <axis = -3> (t, a)",
    "Split": "t, u = Split <axis = -1> (a, sp) b = Concat <axis = 3> (u, t)",
    "Pad": "b = Pad(a, pads)",
    "Pad of axes": "b = Pad <mode = \"reflect\"> (a, pads2, , neg)",
    "Slice": "b = Slice(a, s0, e0, hw, steps)",
    "Slice without axes": "b = Slice(a, s0, e0)",
    "Slice in int32": "b = Slice(a, short0, short1, short2)",
    "Slice without axes in int32": "b = Slice(a, short0, short1)",
    "ReduceMean": "b = ReduceMean(a, hw)",
    "ReduceMax of channels": "t = ReduceMax(a, neg) b = Mul(a, t)",
    "ReduceSum of all": "t = ReduceSum(a) b = Mul(a, t)",
    "Softmax of rows": "b = Softmax <axis = 2> (a)",
    "ArgMax": "t = ArgMax <axis = 3> (a) b = Cast <to = 1> (t)",
    "TopK": "b, t = TopK <axis = 3> (a, k)",
    "Expand": "t = ReduceMax(a, hw) u = Expand(t, tall) b = Add(a, u)",
    "Tile": "b = Tile(a, reps)",
    "Resize": 'b = Resize <mode = "linear"> (a, , scales)',
    "Resize to sizes": "b = Resize(a, , , sizes)",
    "Resize of axes": "b = Resize <axes = [1, 2]> (a, , , sz)",
    "Resize that keeps a ratio":
        'b = Resize <axes = [1, 2], keep_aspect_ratio_policy = "not_larger"> (a, , , sz)',
    "Gather": "b = Gather <axis = 3> (a, i1)",
    "quantized": "t = QuantizeLinear(a, qs0, qz0) b = DequantizeLinear(t, qs0, qz0)",
    "quantized by channel":
        "t = QuantizeLinear <axis = 3> (a, qs, qz) b = DequantizeLinear <axis = 3> (t, qs, qz)",
    "LpNormalization": "b = LpNormalization <axis = 1> (a)",
    "gate": "t = ReduceMean(a, hw) u = Sigmoid(t) b = Mul(u, a)",
    "squeezed and back":
        "t = ReduceMean(a, hw) u = Squeeze(t, hw) v = Unsqueeze(u, hw) b = Mul(a, v)",
    "dropped and back": "t = ReduceMean <keepdims = 0> (a, hw) u = Unsqueeze(t, hw) b = Mul(a, u)",
}  # fmt: skip


@pytest.mark.parametrize("body", CANCELS.values(), ids=CANCELS)
@pytest.mark.parametrize("batch", ["N", "2"])
def test_cancels_through(body, batch):
    model = between(body, batch=batch)
    result = run_pass(planish.load(model), PASS)
    assert "Transpose" not in ops(result.graph)
    assert_same_function(model, result.graph, {"x": X}, 1e-6)


OLD = {
    (9, "Clip"): "b = Clip <min = -0.5, max = 0.5> (a)",
    (9, "Pad"): "b = Pad <pads = [0, 1, 2, 0, 0, 0, 1, 0]> (a)",
    (9, "Slice"): "b = Slice <axes = [1, -1], starts = [1, 0], ends = [4, 3]> (a)",
    (9, "Slice without axes"): "b = Slice <starts = [0, 1], ends = [2, 4]> (a)",
    (9, "Upsample"): "b = Upsample(a, scales)",
    (10, "Resize"): "b = Resize(a, scales)",
    (11, "Squeeze"):
        "t = ReduceMean <axes = [1, 2]> (a) u = Squeeze <axes = [1, 2]> (t) "
        "v = Unsqueeze <axes = [1, 2]> (u) b = Mul(v, a)",
    (11, "Split"): "t, u = Split <axis = 3, split = [1, 3]> (a) b = Concat <axis = 3> (u, t)",
    (13, "ReduceSum"): "t = ReduceSum(a, hw) b = Add(a, t)",
    (13, "ReduceMax"): "t = ReduceMax <axes = [-1], keepdims = 1> (a) b = Add(a, t)",
    (15, "BatchNormalization"): "b = Add(a, c)",
}  # fmt: skip


@pytest.mark.parametrize(("opset", "body"), [(k[0], v) for k, v in OLD.items()], ids=map(str, OLD))
def test_cancels_in_old_opsets(opset, body):
    model = between(body, opset=opset)
    result = run_pass(planish.load(model), PASS)
    assert "Transpose" not in ops(result.graph)
    assert_same_function(model, result.graph, {"x": X}, 1e-6)


STAYS = {
    "MatMul": "b = MatMul(a, square)",
    "LayerNormalization": "b = LayerNormalization(a, c, c)",
    "Resize of channels": "b = Resize(a, , deep)",
    # ONNX Runtime's result depends on how these axes are spelled.
    "Resize that keeps a ratio, axes from the end":
        'b = Resize <axes = [-3, -2], keep_aspect_ratio_policy = "not_smaller"> (a, , , sz)',
    "Resize that keeps a ratio, axes in another order":
        'b = Resize <axes = [2, 1], keep_aspect_ratio_policy = "not_smaller"> (a, , , sz)',
    "Reshape that mixes": "b = Reshape(a, mixed)",
}  # fmt: skip


@pytest.mark.parametrize("body", STAYS.values(), ids=STAYS)
def test_layout_that_is_demanded_stays(body):
    more = {
        "square": normal(4, 4),
        "deep": np.array([1, 1, 1, 2], np.float32),
        "mixed": ints(-1, 6, 5, 4),
    }
    model = between(body, more={n: v for n, v in more.items() if n in body})
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph).count("Transpose") == 2
    assert result.edits == 0


def test_softmax_over_channels_stays_where_they_are_last():
    """Kernels copy what they take the softmax of twice where its axis is not the last."""
    model = model_of(
        """g (float[N, 4, 5, 6] x) => (float[] y) { p = MaxPool <kernel_shape = [1, 1]> (x)
            a = Transpose <perm = [0, 2, 3, 1]> (p) y = Softmax(a) }"""
    )
    assert run_pass(planish.load(model), PASS).edits == 0


@pytest.mark.parametrize("repeat", ["b = Tile(t, rep)", "b = Expand(t, big)"])
def test_repeating_stays_off_the_last_axis(repeat):
    """Kernels repeat the last axis one element at a time, others in blocks."""
    name, values = ("rep", ints(1, 1, 6, 1)) if "rep" in repeat else ("big", ints(1, 1, 6, 1))
    model = between(f"t = MatMul(narrow, a) {repeat}", more={"narrow": normal(1, 6), name: values})
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 0  # though the Transpose behind would be smaller before it


def test_flattened_softmax_of_old_opsets_stays():
    """Before opset 13 Softmax over axis 2 is over all axes from there on."""
    result = run_pass(planish.load(between("b = Softmax <axis = 2> (a)", opset=11)), PASS)
    assert result.edits == 0


@pytest.mark.parametrize("perms", itertools.product([(0, 2, 1), (1, 0, 2), (2, 0, 1)], repeat=2))
def test_two_in_a_row_are_one_or_none(perms):
    first, second = perms
    model = model_of(
        f"""g (float[2, 3, 4] x) => (float[] y) {{ a = Abs(x)
            b = Transpose <perm = {list(first)}> (a) c = Transpose <perm = {list(second)}> (b)
            y = MatMul(c, m) }}""",
        {"m": normal(np.transpose(np.transpose(np.empty((2, 3, 4)), first), second).shape[2], 2)},
    )
    result = run_pass(planish.load(model), PASS)
    undone = [first[axis] for axis in second] == [0, 1, 2]
    assert ops(result.graph).count("Transpose") == (0 if undone else 1)
    assert_same_function(model, result.graph, {"x": normal(2, 3, 4)}, 1e-6)


def test_default_permutation_is_reversed():
    model = model_of(
        "g (float[2, 3, 4] x) => (float[] y) { a = Transpose(x) b = Relu(a) y = Transpose(b) }"
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Relu"]
    assert [t.name for t in result.graph.outputs] == ["y"]
    assert_same_function(model, result.graph, {"x": normal(2, 3, 4)}, 0)


@pytest.mark.parametrize("shape", [(3, 2, 1), (2, 1, 2, 1), (4, 1, 1, 3), (1, 1, 1)])
def test_matrix_of_a_flatten_is_transposed(shape):
    flatten = model_of(
        f"g (float{list(shape)} x) => (float[] y) {{"
        "f = Flatten <axis = 1> (x) y = Transpose <perm = [1, 0]> (f) }"
    )
    result = run_pass(planish.load(flatten), PASS)
    assert_same_function(flatten, result.graph, {"x": normal(*shape)}, 0)


def test_other_readers_of_a_cancelled_transpose_keep_it():
    model = between(
        "t = MatMul(a, square) z = ReduceSum(t) b = Add(a, z)", more={"square": normal(4, 4)}
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph).count("Transpose") == 1
    assert_same_function(model, result.graph, {"x": X}, 1e-5)


def test_small_side_is_transposed_instead_and_needs_no_copy():
    model = model_of(
        """g (float[N, 4, 5, 6] x, float[N, 1, 1, 4] gate) => (float[] y) {
            p = MaxPool <kernel_shape = [1, 1]> (x)
            a = Transpose <perm = [0, 2, 3, 1]> (p) b = Mul(a, gate)
            q = Transpose <perm = [0, 3, 1, 2]> (b) y = MaxPool <kernel_shape = [1, 1]> (q) }"""
    )
    result = run_pass(planish.load(model), PASS)
    assert sorted(ops(result.graph)) == ["MaxPool", "MaxPool", "Mul", "Reshape"]
    assert_same_function(model, result.graph, {"x": X, "gate": normal(2, 1, 1, 4)}, 0)


def test_operand_of_lower_rank_is_aligned():
    model = model_of(
        """g (float[N, 4, 5, 6] x, float[4] s) => (float[] y) {
            p = MaxPool <kernel_shape = [1, 1]> (x)
            a = Transpose <perm = [0, 2, 3, 1]> (p) b = Mul(a, s)
            q = Transpose <perm = [0, 3, 1, 2]> (b) y = MaxPool <kernel_shape = [1, 1]> (q) }"""
    )
    result = run_pass(planish.load(model), PASS)
    assert "Transpose" not in ops(result.graph)
    assert_same_function(model, result.graph, {"x": X, "s": normal(4)}, 0)


def test_fewer_bytes_in_more_transposes_is_no_gain():
    """Attention splits one transposed tensor into three: each part transposed is one more."""
    model = model_of(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[B, 7, 3, 2, 4] x) => (float[] q, float[] k, float[] v) {
            t = Transpose <perm = [2, 0, 3, 1, 4]> (x)
            a, b, c = Split <axis = 0> (t)
            q = Squeeze(a, first) d = Squeeze(b, first) v = Squeeze(c, first)
            k = Transpose <perm = [0, 1, 3, 2]> (d) }""",
        {"first": ints(0)},
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph).count("Transpose") == 2
    assert_same_function(model, result.graph, {"x": normal(2, 7, 3, 2, 4)}, 0)


def test_a_transpose_of_ones_costs_no_bytes_as_long_as_it_stays():
    """Without it, twice the bytes would be moved before the sum than are now."""
    model = model_of(
        """g (float[2, 1, 6, 5, 1, 8] x, float[1, 8, 6, 5] z) => (float[] y) {
            w = Transpose <perm = [0, 2, 3, 1]> (z)
            t = Transpose <perm = [0, 1, 4, 2, 3, 5]> (x)
            a = Reshape(t, cut) b = Add(a, w)
            y = ReduceMean <keepdims = 0> (b, hw) }""",
        {"cut": ints(0, 6, 5, 8), "hw": ints(1, 2)},
    )
    result = run_pass(planish.load(model), PASS)
    kept = [list(n.inputs[0].shape) for n in result.graph.nodes if n.op == "Transpose"]
    assert kept == [[1, 8, 6, 5]]
    feeds = {"x": normal(2, 1, 6, 5, 1, 8), "z": normal(1, 8, 6, 5)}
    assert_same_function(model, result.graph, feeds, 1e-6)


def test_sides_of_one_size_stay_as_they_are():
    model = model_of(
        """g (float[2, 4, 4] x, float[2, 4, 4] z) => (float[] y) {
            a = Transpose <perm = [0, 2, 1]> (x) y = Add(a, z) }"""
    )
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 0
    assert reasons(result) == {"moving it takes as many Transposes and bytes, or more"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("u = Unsqueeze(r, first) y = Transpose <perm = [0, 2, 1]> (u)", "Unsqueeze Transpose"),
        ("t = Transpose <perm = [1, 0]> (r) y = Unsqueeze(t, first)", "Unsqueeze Transpose"),
        ("u = Unsqueeze(r, i2) y = Transpose <perm = [1, 0, 2]> (u)", "Unsqueeze Transpose"),
        ("t = Transpose <perm = [1, 0]> (r) y = Unsqueeze(t, i2)", "Unsqueeze Transpose"),
    ],
)
@pytest.mark.parametrize("shape", ["K, 2", "2, K", "K, M", "?, 2", "3, 2"])
def test_unknown_sizes_cost_the_same_wherever_they_stand(body, expected, shape):
    model = model_of(
        f"g (float[{shape}] x) => (float[] y) {{ r = Relu(x) {body} }}",
        {"first": ints(0), "i2": ints(2)},
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Relu", *expected.split()]
    x = normal(2, 3) if shape == "2, K" else normal(3, 2)
    assert_same_function(model, result.graph, {"x": x}, 0)


def test_moves_to_where_a_value_is_smaller():
    """Eight-bit values before the Cast are a quarter of what is transposed after it."""
    model = model_of(
        """g (uint8[N, 5, 6, 3] x) => (float[] y) { a = Cast <to = 1> (x)
            b = Transpose <perm = [0, 3, 1, 2]> (a) y = MaxPool <kernel_shape = [1, 1]> (b) }"""
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Transpose", "Cast", "MaxPool"]
    x = GENERATOR.integers(0, 255, (2, 5, 6, 3)).astype(np.uint8)
    assert_same_function(model, result.graph, {"x": x}, 0)


def test_moves_behind_what_a_convolution_can_take_in():
    model = model_of(
        """g (float[N, 3, 5, 6] x) => (float[] y) { p = Conv(x, w)
            a = Transpose <perm = [0, 2, 3, 1]> (p) b = Add(a, c) y = Relu(b) }""",
        {"w": normal(4, 3, 3, 3), "c": normal(4)},
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv", "Add", "Relu", "Transpose"]
    assert_same_function(model, result.graph, {"x": normal(2, 3, 5, 6)})


@pytest.mark.parametrize(
    "flat",
    [
        "f = Flatten(a)",
        "f = Reshape(a, keep)",
        "f = Reshape(a, rest)",
        "f = Flatten <axis = -3> (a)",
    ],
)
@pytest.mark.parametrize("layer", ["y = MatMul(f, w)", "y = Gemm <transB = 1> (f, v, d)"])
def test_rows_of_a_linear_layer_follow(flat, layer):
    body = f"{flat} {layer}"
    more = {
        "keep": ints(0, -1),
        "rest": ints(-1, 120),
        "w": normal(120, 3),
        "v": normal(3, 120),
        "d": normal(3),
    }
    import re

    model = model_of(
        f"""g (float[N, 4, 5, 6] x) => (float[] y) {{ p = MaxPool <kernel_shape = [1, 1]> (x)
            a = Transpose <perm = [0, 2, 3, 1]> (p) {body} }}""",
        {n: v for n, v in more.items() if re.search(rf"\b{n}\b", body)},
    )
    result = run_pass(planish.load(model), PASS)
    assert "Transpose" not in ops(result.graph)
    assert_same_function(model, result.graph, {"x": X})


def test_shapes_are_read_from_the_other_layout():
    model = model_of(
        """g (float[N, 4, 5, 6] x) => (float[] y, int64[2] s, int64[4] t) {
            p = MaxPool <kernel_shape = [1, 1]> (x) a = Transpose <perm = [0, 2, 3, 1]> (p)
            b = Relu(a) s = Shape <start = -2> (b) t = Shape(a)
            q = Transpose <perm = [0, 3, 1, 2]> (b) y = MaxPool <kernel_shape = [1, 1]> (q) }"""
    )
    result = run_pass(planish.load(model), PASS)
    assert "Transpose" not in ops(result.graph)
    assert_same_function(model, result.graph, {"x": X}, 0)


def test_graph_outputs_keep_their_layout():
    model = model_of(
        """g (float[N, 4, 5, 6] x) => (float[] y, float[] b, float[] q, float[] r) {
            p = MaxPool <kernel_shape = [1, 1]> (x) a = Transpose <perm = [0, 2, 3, 1]> (p)
            b = Relu(a) c = Neg(b) q = Transpose <perm = [0, 3, 1, 2]> (c)
            r = Transpose <perm = [0, 3, 1, 2]> (c) y = MaxPool <kernel_shape = [1, 1]> (q) }"""
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph).count("Transpose") == 1
    assert [t.name for t in result.graph.outputs] == ["y", "b", "q", "r"]
    assert_same_function(model, result.graph, {"x": X}, 0)


def test_bodies_are_graphs_of_their_own():
    model = model_of(
        """g (float[2, 3, 4] x, bool t) => (float[] y) { a = Transpose <perm = [0, 2, 1]> (x)
            y = If (t) <then_branch = p () => (float[] u) {
                    b = Transpose <perm = [0, 2, 1]> (a) c = Relu(b)
                    u = Transpose <perm = [0, 2, 1]> (c) },
                else_branch = q () => (float[] w) { w = Neg(a) }> }"""
    )
    result = run_pass(planish.load(model), PASS)
    branch = next(n for n in result.graph.nodes if n.op == "If").attrs["then_branch"]
    assert ops(branch) == ["Relu"]
    for t in (True, False):
        assert_same_function(model, result.graph, {"x": normal(2, 3, 4), "t": np.array(t)}, 0)


def test_split_axes_move_and_shuffled_channels_stay():
    """A Reshape that splits rows works in any layout; one that shuffles channels does not."""
    upsampled = """t = Reshape(a, split) u = Tile(t, five) b = Reshape(u, join)"""
    more = {"split": ints(-1, 5, 1, 6, 4), "five": ints(1, 1, 2, 1, 1), "join": ints(-1, 10, 6, 4)}
    model = between(upsampled, more=more)
    result = run_pass(planish.load(model), PASS)
    assert "Transpose" not in ops(result.graph)
    assert_same_function(model, result.graph, {"x": X}, 0)
    shuffled = (
        """r = Reshape(x, split) t = Transpose <perm = [0, 2, 1, 3, 4]> (r) y = Reshape(t, join)"""
    )
    model = model_of(
        f"g (float[N, 4, 5, 6] x) => (float[] y) {{ {shuffled} }}",
        {"split": ints(0, 2, 2, 5, 6), "join": ints(0, 4, 5, 6)},
    )
    assert run_pass(planish.load(model), PASS).edits == 0


def test_long_chains_are_linear():
    work = []
    for count in (200, 400):
        lines = " ".join(f"a{i + 1} = Relu(a{i})" for i in range(count))
        model = model_of(
            f"""g (float[2, 3, 4] x) => (float[] y) {{ a0 = Transpose <perm = [0, 2, 1]> (x)
                {lines} y = Transpose <perm = [0, 2, 1]> (a{count}) }}"""
        )
        graph = planish.load(model)
        run = partial(planish.Pipeline.parse(PASS).run, graph, verify="off")
        work.append(calls_in(run))
        assert "Transpose" not in ops(run().graph)
    assert work[1] < 2.5 * work[0]


def test_values_that_are_shown_are_paid_for():
    """Transposing the bytes before the Cast would need the output transposed back."""
    model = model_of(
        """g (uint8[N, 5, 6, 3] x) => (float[] y, float[] a) { a = Cast <to = 1> (x)
            b = Transpose <perm = [0, 3, 1, 2]> (a) y = MaxPool <kernel_shape = [1, 1]> (b) }"""
    )
    assert run_pass(planish.load(model), PASS).edits == 0


@pytest.mark.parametrize(
    ("shape", "left"), [("N, 1, M", "Transpose"), ("N, 1, 3", "Reshape"), ("2, 1, M", "Reshape")]
)
def test_a_reshape_in_its_place_takes_no_rows_too(shape, left):
    swapped = model_of(
        f"g (float[{shape}] x) => (float[] y) {{ y = Transpose <perm = [0, 2, 1]> (x) }}"
    )
    result = run_pass(planish.load(swapped), PASS)
    assert ops(result.graph) == [left]
    x = np.zeros([int(size) if size.isdigit() else 0 for size in shape.split(", ")], np.float32)
    assert_same_function(swapped, result.graph, {"x": x}, 0)


def test_transposes_move_behind_fused_operators_as_behind_those_they_stand_for():
    """What is fused again after a portable file is read must find nothing to move."""
    model = model_of(
        """g (float[2, 4, 5, 1] x) => (float[5, 2, 1, 4] y) {
            s = Softplus(x) t = Tanh(s) m = Mul(x, t)
            p = Transpose <perm = [2, 0, 3, 1]> (m) y = Mul(p, one) }""",
        {"one": np.full((1, 1, 1, 1), 0.5, np.float32)},
    )
    graph = run_pass(planish.load(model), "exact").graph
    portable = planish.to_model(graph, portable=True)
    again = planish.Pipeline.parse("exact").run(planish.load(portable), verify="off")
    assert not again.edits
    assert_same_function(model, graph, {"x": normal(2, 4, 5, 1)})


@pytest.mark.parametrize("shape", [(1, 1, 0), (1, 1, 1, 0), (2, 1, 0)], ids=str)
def test_a_reshape_of_no_elements_asks_for_the_sizes_it_had(shape):
    """A zero in its target copies the size in that place, which moves with the axes."""
    perm = [0, *range(len(shape) - 1, 0, -1)]
    model = model_of(
        f"""g (float[{", ".join(map(str, shape))}] x) => (float[a, b] y) {{
            t = Transpose <perm = {perm}> (x) y = Reshape(t, target) }}""",
        {"target": ints(shape[0], -1)},
    )
    graph = run_pass(planish.load(model), "simplify-reshapes,eliminate-transposes").graph
    assert_same_function(model, graph, {"x": np.zeros(shape, np.float32)})


def products(body, a, b, y, more=()):
    """Return a graph of two tensors, and the feeds that fill them."""
    feeds = {"a": normal(*a), "b": normal(*b)}
    shapes = [", ".join(map(str, each)) for each in (a, b)]
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[{shapes[0]}] a, float[{shapes[1]}] b) => (float[{", ".join("?" * y)}] y) {{
            {body} }}"""
    return model_of(text, dict(more)), feeds


SWAP = "<perm = [0, 1, 3, 2]>"
PRODUCTS = {
    "second and result": (
        f"t = Transpose {SWAP} (b) p = MatMul(a, t) y = Transpose {SWAP} (p)",
        (2, 3, 4, 5), (2, 3, 6, 5), 1),
    "first and result": (
        f"t = Transpose {SWAP} (a) p = MatMul(t, b) y = Transpose {SWAP} (p)",
        (2, 3, 5, 4), (2, 3, 5, 6), 1),
    "both": (
        f"t = Transpose {SWAP} (a) u = Transpose {SWAP} (b) y = MatMul(t, u)",
        (2, 3, 5, 4), (2, 3, 6, 5), 1),
    "all": (
        f"t = Transpose {SWAP} (a) u = Transpose {SWAP} (b) p = MatMul(t, u)"
        f" y = Transpose {SWAP} (p)",
        (2, 3, 5, 4), (2, 3, 6, 5), 0),
    "matrices": (
        "t = Transpose(a) u = Transpose(b) p = MatMul(t, u) y = Transpose(p)", (5, 4), (6, 5), 0),
    "batches": (
        "t = Transpose <perm = [1, 0, 2, 3]> (a) u = Transpose <perm = [1, 0, 2, 3]> (b)"
        " p = MatMul(t, u) y = Transpose <perm = [1, 0, 2, 3]> (p)",
        (3, 2, 4, 5), (3, 2, 5, 6), 0),
    "batches and matrices": (
        "t = Transpose <perm = [1, 0, 3, 2]> (a) u = Transpose <perm = [1, 0, 3, 2]> (b)"
        " p = MatMul(t, u) y = Transpose <perm = [1, 0, 3, 2]> (p)",
        (3, 2, 5, 4), (3, 2, 6, 5), 0),
    "one batch of many": (
        f"t = Transpose {SWAP} (a) u = Transpose {SWAP} (b) p = MatMul(t, u)"
        f" y = Transpose {SWAP} (p)",
        (1, 3, 5, 4), (2, 1, 6, 5), 0),
    "square of one tensor": (
        f"t = Transpose {SWAP} (a) p = MatMul(t, t) q = Transpose {SWAP} (p) y = Add(q, b)",
        (2, 3, 4, 4), (4,), 0),
}  # fmt: skip


@pytest.mark.parametrize(("body", "a", "b", "left"), PRODUCTS.values(), ids=PRODUCTS)
def test_a_product_transposed_is_that_of_its_transposed_operands_exchanged(body, a, b, left):
    model, feeds = products(body, a, b, max(len(a), len(b)))
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph).count("Transpose") == left
    assert_same_function(model, result.graph, feeds, 1e-6)


APART = {
    "rows and batches exchanged": (
        "t = Transpose <perm = [2, 1, 0, 3]> (a) p = MatMul(t, b)"
        " y = Transpose <perm = [2, 1, 0, 3]> (p)",
        (4, 3, 2, 5), (1, 1, 5, 6)),
    "other ranks": (
        f"t = Transpose {SWAP} (a) p = MatMul(t, b) y = Transpose {SWAP} (p)",
        (2, 3, 5, 4), (5, 6)),
    "a vector": ("t = Transpose(a) y = MatMul(b, t)", (4, 5), (5,)),
}  # fmt: skip


@pytest.mark.parametrize(("body", "a", "b"), APART.values(), ids=APART)
def test_a_product_keeps_its_layout_otherwise(body, a, b):
    model, feeds = products(body, a, b, 1 if len(b) == 1 else len(a))
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == [node.op_type for node in model.graph.node]
    assert_same_function(model, result.graph, feeds, 1e-6)


def test_weights_stay_the_second_operand():
    body = "t = Transpose(a) p = MatMul(t, w) q = Transpose(p) y = Add(q, b)"
    model, feeds = products(body, (5, 4), (4,), 2, {"w": normal(5, 6)})
    result = run_pass(planish.load(model), PASS)
    (product,) = (node for node in result.graph.nodes if node.op == "MatMul")
    assert product.inputs[1].name == "w"
    assert_same_function(model, result.graph, feeds, 1e-6)


def test_attention_over_channels_first_needs_two_transposes():
    body = f"""
        q = Transpose {SWAP} (a) s = MatMul(q, b) m = Softmax <axis = -1> (s)
        c = MaxPool <kernel_shape = [1, 1]> (b) v = Transpose {SWAP} (c)
        r = MatMul(m, v) o = Transpose {SWAP} (r) y = MaxPool <kernel_shape = [1, 1]> (o)"""
    model, feeds = products(body, (1, 2, 8, 9), (1, 2, 8, 9), 4)
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph).count("Transpose") == 2
    assert_same_function(model, result.graph, feeds, 1e-6)


def test_a_transpose_whose_order_no_rank_tells_reads_what_it_read():
    """Inference and runtime differ in the rank of the Squeeze: the Transpose reverses the axes."""
    model = model_of(
        """<ir_version: 8, opset_import: ["" : 9]>
        g (float[N, 1, M, 3, K, 3] x) => (float[] y, int64[] z) {
            a = ArgMin <axis = 1, keepdims = 1> (x) s = Squeeze <axes = [4, 1, 2]> (x)
            y = Transpose(s) z = Transpose <perm = [0, 5, 1, 2, 3, 4]> (a) }"""
    )
    graph = run_pass(planish.load(model), PASS, strict=True).graph
    assert_same_function(model, graph, {"x": normal(2, 1, 1, 3, 1, 3)}, 0)


def test_the_sizes_of_a_slice_are_known_whatever_the_order_of_its_axes():
    """Up to opset 9 inference gives up: what a Transpose moves would cost now less and now more."""
    model = model_of(
        """<ir_version: 8, opset_import: ["" : 9]>
        g (float[N, 2, 3, 4] x) => (float[] y) {
            s = Slice <starts = [0, 1, 0], ends = [2, 9, 1], axes = [3, 2, 0]> (x)
            t = Transpose <perm = [0, 3, 1, 2]> (s) y = Transpose <perm = [1, 2, 3, 0]> (t) }"""
    )
    graph = run_pass(planish.load(model), PASS).graph
    assert ops(graph) == ["Slice", "Transpose"]
    assert_same_function(model, graph, {"x": normal(2, 2, 3, 4)}, 0)


@pytest.mark.parametrize(
    ("opset", "kind"),
    [
        (12, np.uint8),
        (19, ml_dtypes.float8_e5m2),
        (20, ml_dtypes.float8_e4m3fn),
        (21, ml_dtypes.float8_e5m2),
    ],
)
def test_no_transpose_of_a_type_that_the_opset_lacks(opset, kind):
    """Up to opset 20 there is none of float8: it stays at the float32 that is quantized."""
    model = model_of(
        f"""<ir_version: 9, opset_import: ["" : {opset}]>
        g (float[N, 4, 5] x) => (float[N, 5, 4] y) {{
            a = QuantizeLinear(x, s, q) z = DequantizeLinear(a, s, q)
            y = Transpose <perm = [0, 2, 1]> (z) }}""",
        {"s": np.float32(0.5), "q": np.zeros((), kind)},
    )
    graph = run_pass(planish.load(model), PASS).graph
    assert_same_function(model, graph, {"x": normal(2, 4, 5)}, 0)
    (moved,) = (node for node in graph.nodes if node.op == "Transpose")
    assert takes_type("Transpose", infer_types(graph).of(moved.inputs[0]).dtype, opset)


def test_what_a_new_reshape_bounds_is_decided_in_the_same_run():
    """Two of these Transposes move axes of size one alone; the third goes behind the Relu then."""
    model = model_of(
        """g (float[3, 4, 1, 1] x, float[3, 1, 1, 4] z) => (float[] y, float[] v, float[] w) {
            a = Add(x, k) b = Relu(a)
            c = Transpose <perm = [0, 3, 1, 2]> (b) w = Transpose <perm = [0, 2, 3, 1]> (a)
            y = Transpose <perm = [2, 1, 0, 3]> (b)
            d = Where(m, z, c) v = Transpose <perm = [2, 1, 0, 3]> (d) }""",
        {"k": normal(3, 4, 1, 1), "m": GENERATOR.standard_normal((3, 1, 4, 1)) > 0},
    )
    graph = run_pass(planish.load(model), PASS).graph  # it runs again, without an edit
    assert ops(graph).count("Transpose") == 1
    assert_same_function(model, graph, {"x": normal(3, 4, 1, 1), "z": normal(3, 1, 1, 4)}, 0)


BLOCKS = """t = Transpose <perm = [0, 2, 3, 1]> (a) b = Reshape(t, deep)
    c = Transpose <perm = [0, 1, 3, 2, 4, 5]> (b) d = Reshape(c, wide)
    u = Transpose <perm = [0, 3, 1, 2]> (d)"""
PAIR = "q = QuantizeLinear(x, s, z) a = DequantizeLinear(q, s, z)"


@pytest.mark.parametrize(("first", "left"), [("a = Relu(x)", 1), (PAIR, 3)])
def test_blocks_of_integers_are_moved_with_channels_last(first, left):
    """Integer layers have them last; what moves channels that come first moves single bytes."""
    model = model_of(
        f"g (float[2, 8, 3, 5] x) => (float[] y) {{ {first} {BLOCKS} y = Relu(u) }}",
        {
            "deep": ints(0, 3, 5, 2, 2, 2),
            "wide": ints(0, 6, 10, 2),
            "s": np.float32(0.05),
            "z": np.uint8(128),
        },
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph).count("Transpose") == left
    assert any("whole rows" in reason for reason in reasons(result)) is (left == 3)
    assert_same_function(model, result.graph, {"x": normal(2, 8, 3, 5)}, 0)


def test_the_last_of_them_may_go():
    """Where none is left at all, nothing is moved: rows or bytes."""
    model = model_of(
        f"""g (float[2, 8, 3, 5] x) => (float[] y) {{ {PAIR} t = Transpose <perm = [0, 2, 3, 1]> (a)
            b = Reshape(t, flat) c = Relu(b) d = Reshape(c, back)
            y = Transpose <perm = [0, 3, 1, 2]> (d) }}""",
        {
            "flat": ints(2, 15, 8),
            "back": ints(2, 3, 5, 8),
            "s": np.float32(0.05),
            "z": np.uint8(128),
        },
    )
    result = run_pass(planish.load(model), PASS)
    assert "Transpose" not in ops(result.graph)
    assert_same_function(model, result.graph, {"x": normal(2, 8, 3, 5)}, 0)
