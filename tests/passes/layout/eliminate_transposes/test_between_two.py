"""Two Transposes that undo each other go through what is between them, or say why they stay."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest

import planish
from planish.ir.ops.opsets import takes_type
from planish.ir.ops.shapes.infer import infer_types

from tests.helpers import assert_same_function, model_of, ops, run_pass
from tests.passes.layout.eliminate_transposes.common import (
    PASS,
    X,
    between,
    ints,
    normal,
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
