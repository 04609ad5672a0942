"""Chains of reshapes become one, and targets computed from sizes become constants."""

from __future__ import annotations

import re

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, model_of, ops, reasons, run_pass
from tests.passes.layout.simplify_reshapes.common import PASS, WEIGHTS, ints, model

X = np.random.default_rng(3).standard_normal((2, 8, 3, 3)).astype(np.float32)


def check(body, batch="N", opset=20):
    source = model(body, batch, opset)
    result = run_pass(planish.load(source), PASS)
    assert_same_function(source, result.graph, {"x": X}, 0)
    return result


FLATTENS = {
    "gathered batch":
        "s = Shape(r) b = Gather(s, i0) u = Unsqueeze(b, z) c = Concat <axis = 0> (u, m1) "
        "y = Reshape(r, c)",
    "sliced batch":
        "s = Shape(r) b = Slice(s, z, one, z) c = Concat <axis = 0> (b, t72) y = Reshape(r, c)",
    "cast and squeezed":
        "s = Shape(r) f = Cast <to = 6> (s) b = Slice(f, z, one, z) q = Squeeze(b, z) "
        "u = Unsqueeze(q, z) c0 = Cast <to = 7> (u) c = Concat <axis = 0> (c0, m1) "
        "y = Reshape(r, c)",
    "product of the rest":
        "s = Shape(r) b = Slice(s, one, four, z) p = ReduceProd <keepdims = 1> (b) "
        "c = Concat <axis = 0> (m1, p) y = Reshape(r, c)",
    "product by Mul":
        "s = Shape <start = 1> (r) i = Gather(s, z) j = Gather(s, one) k = Gather(s, two) "
        "a = Mul(i, j) p = Mul(a, k) n = Shape <end = 1> (r) c = Concat <axis = 0> (n, p) "
        "y = Reshape(r, c)",
    "size over batch":
        "s = Size(r) n = Shape <end = 1> (r) q = Div(s, n) c = Concat <axis = 0> (n, q) "
        "y = Reshape(r, c)",
    "floored floats":
        "s = Shape(r) f = Cast <to = 1> (s) b = Slice(f, one, four, z) "
        "p = ReduceProd <keepdims = 1> (b) g = Floor(p) q = Cast <to = 7> (g) "
        "c = Concat <axis = 0> (m1, q) y = Reshape(r, c)",
    "constant": "y = Reshape(r, keep)",
    "two steps": "a = Reshape(r, joined) y = Reshape(a, keep)",
    "an axis more before": "q = Unsqueeze(r, ax4) y = Flatten(q)",
    "the shape of another tensor":
        "k = Neg(r) s = Shape(k) b = Gather(s, z) c = Concat <axis = 0> (b, m1) y = Reshape(r, c)",
}  # fmt: skip


@pytest.mark.parametrize("body", FLATTENS.values(), ids=FLATTENS)
@pytest.mark.parametrize("batch", ["N", "?", "2"])
def test_becomes_a_flatten(body, batch):
    result = check(body, batch)
    assert [op for op in ops(result.graph) if op != "Neg"] == ["Relu", "Flatten"]


def test_squeezed_pool_is_a_flatten():
    result = check("g = GlobalAveragePool(r) y = Squeeze(g, ax23)")
    assert ops(result.graph) == ["Relu", "GlobalAveragePool", "Flatten"]


GONE = {
    "Squeeze of Unsqueeze": "u = Unsqueeze(r, z) v = Squeeze(u, z) y = Neg(v)",
    "around unary operators":
        "u = Unsqueeze(r, z) v = Sigmoid(u) w = Tanh(v) q = Squeeze(w, z) y = Neg(q)",
    "around a scalar":
        "u = Unsqueeze(r, ax4) v = Mul(half, u) q = Reshape(v, back) y = Neg(q)",
    "Reshape and back": "u = Reshape(r, rows) v = Exp(u) q = Reshape(v, back) y = Neg(q)",
    "to its own sizes": "s = Shape(r) q = Reshape(r, s) y = Neg(q)",
}  # fmt: skip


@pytest.mark.parametrize("body", GONE.values(), ids=GONE)
@pytest.mark.parametrize("batch", ["N", "?", "2"])
def test_cancels(body, batch):
    result = check(body, batch)
    left = set(ops(result.graph))
    assert not left & {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Shape"}


@pytest.mark.parametrize("batch", ["N", "2"])
@pytest.mark.parametrize("constant", ["bias", "[5, 1]"])
def test_constant_operand_between_gets_the_axes_back(batch, constant):
    values = X[0, :5, 0, :1] if constant != "bias" else np.array([0.3], np.float32)
    source = model_of(
        f"""g (float[{batch}, 5, 1, 4] x) => (float[] y) {{ p = Abs(x) u = Squeeze(p, a)
            v = Add(k, u) w = Unsqueeze(v, a) y = Neg(w) }}""",
        {"a": ints(2), "k": values.astype(np.float32)},
    )
    result = run_pass(planish.load(source), PASS)
    assert ops(result.graph) == ["Abs", "Add", "Neg"]
    x = np.random.default_rng(5).standard_normal((2, 5, 1, 4)).astype(np.float32)
    assert_same_function(source, result.graph, {"x": x}, 0)


def test_widening_constant_between_stays():
    source = model_of(
        """g (float[N, 1, 1, 4] x) => (float[] y) { p = Abs(x) u = Squeeze(p, a)
            v = Add(k, u) w = Unsqueeze(v, a) y = Neg(w) }""",
        {"a": ints(2), "k": np.ones((1, 5, 1), np.float32)},
    )
    result = run_pass(planish.load(source), PASS)
    assert ops(result.graph) == ["Abs", "Squeeze", "Add", "Unsqueeze", "Neg"]


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ("a = Reshape(r, mid) y = Reshape(a, four_and)", [0, 4, 18]),
        ("n = Shape <end = 1> (r) c = Concat <axis = 0> (n, two, four, three, three) "
         "y = Reshape(r, c)", [0, 2, 4, 3, 3]),
        ("y = Reshape(r, halves)", [0, 4, 2, 3, 3]),
        ("s = Shape(r) n = Gather(s, z) m = Mul(n, two) c = Concat <axis = 0> (m, four, m1) "
         "y = Reshape(r, c)", [-1, 4, 9]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("batch", ["N", "?"])
def test_target_is_constant(body, target, batch):
    result = check(body, batch)
    assert ops(result.graph) == ["Relu", "Reshape"]
    assert result.graph.nodes[1].inputs[1].values.tolist() == target


def test_readers_of_a_chain_all_read_its_source():
    result = check(
        "a = Reshape(r, mid) b = Reshape(a, back) c = Neg(b) d = Reshape(a, back) y = Add(c, d)"
    )
    assert ops(result.graph) == ["Relu", "Neg", "Add"]


def test_producer_of_another_unread_result_stays():
    source = model_of(
        """g (float[N, 8, 3, 3] x) => (int64[] y) {
            v, i = TopK <axis = 1> (x, two) y = Reshape(i, flat) }""",
        {"two": ints(2), "flat": ints(-1, 18)},
    )
    result = run_pass(planish.load(source), PASS)
    assert ops(result.graph) == ["TopK", "Flatten"]
    assert_same_function(source, result.graph, {"x": X}, 0)


def test_graph_outputs_keep_their_names():
    source = model_of(
        """g (float[N, 8, 3, 3] x) => (float[] y, float[] u) {
            u = Unsqueeze(x, z) y = Squeeze(u, z) }""",
        {"z": ints(0)},
    )
    result = run_pass(planish.load(source), PASS)
    assert [t.name for t in result.graph.outputs] == ["y", "u"]
    assert_same_function(source, result.graph, {"x": X}, 0)


@pytest.mark.parametrize("kind", ["input", "two unknown"])
def test_what_is_not_known_stays(kind):
    if kind == "input":
        text = "g (float[N, 6] x, int64[2] t) => (float[] y) { y = Reshape(x, t) }"
        feeds, expected = {"t": ints(3, 4)}, {"its target is not known to be made of sizes"}
    else:
        text = """g (float[N, M] x, float[K, L] z) => (float[] y) { s = Shape(z)
            y = Reshape(x, s) }"""
        feeds = {"z": np.zeros((4, 3), np.float32)}
        expected = {"two sizes of its target are computed"}
    source = model_of(text)
    result = run_pass(planish.load(source), PASS)
    assert result.edits == 0
    assert reasons(result) == expected
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    assert_same_function(source, result.graph, {"x": x, **feeds}, 0)


def test_zeros_that_mean_zero_stay():
    source = model_of(
        "g (float[0, 3] x) => (float[] y) { y = Reshape <allowzero = 1> (x, t) }", {"t": ints(0, 7)}
    )
    result = run_pass(planish.load(source), PASS)
    assert result.edits == 0
    assert_same_function(source, result.graph, {"x": np.zeros((0, 3), np.float32)}, 0)


def test_shuffles_keep_their_three_operators():
    body = "a = Reshape(r, c) b = Transpose <perm = [0, 2, 1, 3, 4]> (a) y = Reshape(b, back)"
    head = "n = Shape <end = 1> (r) c = Concat <axis = 0> (n, two, four, three, three) "
    result = check(head + body)
    assert ops(result.graph) == ["Relu", "Reshape", "Transpose", "Reshape"]
    assert result.graph.nodes[1].inputs[1].values.tolist() == [0, 2, 4, 3, 3]


def test_expand_to_its_own_batch():
    source = model_of(
        """g (float[N, 1, 3] x) => (float[] y) { r = Relu(x) s = Shape(r) n = Gather(s, z)
            c = Concat <axis = 0> (n, four, one) y = Expand(r, c) }""",
        {n: WEIGHTS[n] for n in ("z", "four", "one")},
    )
    result = run_pass(planish.load(source), PASS)
    assert ops(result.graph) == ["Relu", "Expand"]
    assert result.graph.nodes[1].inputs[1].values.tolist() == [1, 4, 1]
    x = np.arange(6, dtype=np.float32).reshape(2, 1, 3)
    assert_same_function(source, result.graph, {"x": x}, 0)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_to_twice_its_sizes(mode):
    result = check(
        f"""s = Shape(r) n = Slice(s, z, two, z) h = Slice(s, two, four, z) m = Mul(h, scale2)
        c = Concat <axis = 0> (n, m) y = Resize <mode = "{mode}"> (r, , , c)"""
    )
    assert ops(result.graph) == ["Relu", "Resize"]
    assert result.graph.nodes[1].inputs[2].values.tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("opset", [9, 11, 13])
def test_old_opsets(opset):
    axes = "<axes = [2, 3]> (g)" if opset < 13 else "(g, ax23)"
    unsqueeze = "<axes = [0]> (b)" if opset < 13 else "(b, z)"
    result = check(
        f"""s = Shape(r) b = Gather(s, i0) u = Unsqueeze {unsqueeze}
        c = Concat <axis = 0> (u, m1) f = Reshape(r, c) g = GlobalAveragePool(r)
        q = Squeeze {axes} y = Concat <axis = 1> (f, q)""",
        opset=opset,
    )
    assert sorted(ops(result.graph)) == [
        "Concat",
        "Flatten",
        "Flatten",
        "GlobalAveragePool",
        "Relu",
    ]


def test_minus_one_over_nothing_stays():
    # Written as a number it would be 0, which copies a size.
    source = model_of(
        "g (float[0, 6, 2] x) => (float[] y) { y = Reshape(x, t) }", {"t": ints(3, 2, -1)}
    )
    result = run_pass(planish.load(source), PASS)
    assert result.edits == 0
    assert_same_function(source, result.graph, {"x": np.zeros((0, 6, 2), np.float32)}, 0)


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize(
    "body",
    [
        # n * h rows: at run time a target of [n, h * w, 3], which no -1 beside n may stand for.
        """s = Shape(x) n = Slice(s, zero, one, zero) h = Slice(s, two, three, zero)
           w = Slice(s, three, four, zero) p = Mul(h, w) c = Concat <axis = 0> (n, p, three)
           y = Reshape(x, c)""",
        """f = Flatten(x) y = Unsqueeze(f, one)""",
    ],
)
def test_a_batch_of_none_is_taken_as_before(body, batch):
    values = {"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4}
    used = {name: ints(value) for name, value in values.items() if re.search(rf"\b{name}\b", body)}
    source = model_of(f"g (float[N, 3, H, W] x) => (float[] y) {{ {body} }}", used)
    result = run_pass(planish.load(source), PASS)
    x = np.zeros((batch, 3, 2, 4), np.float32)
    assert_same_function(source, result.graph, {"x": x}, 0)


def test_axes_of_a_squeeze_are_in_order_where_inference_needs_it():
    """ONNX Runtime infers another shape of the first, and refuses the convolution."""
    weights = {
        "none": np.zeros((1, 2, 1, 1, 0, 3), np.float32),
        "w": np.ones((1, 3, 1), np.float32),
    }
    model = model_of(
        """<ir_version: 8, opset_import: ["" : 10]>
        g (float[1, 2, 1, 1, 3, 3] x) => (float[] y) {
            c = Concat <axis = -2> (none, x) s = Squeeze <axes = [3, 2, 0]> (c)
            y = Conv <strides = [3]> (s, w) }""",
        weights,
    )
    graph = run_pass(planish.load(model), "exact", verify="end").graph
    x = np.random.default_rng(0).standard_normal((1, 2, 1, 1, 3, 3)).astype(np.float32)
    assert_same_function(model, graph, {"x": x})


ORDER = np.arange(72).reshape(8, 1, 9)


WHOLE = {
    "the flat tensor": ("f = Reshape(r, all) g = Gather(f, i)", "2", None),
    "an axis": ("f = Reshape(r, keep) g = Gather <axis = 1> (f, i)", "N", ORDER),
    "the last axis": ("f = Reshape(r, keep) g = Gather <axis = -1> (f, i)", "N", ORDER),
    "counted from the end": ("f = Reshape(r, keep) g = Gather <axis = 1> (f, i)", "N", ORDER - 72),
    "a shift": ("f = Reshape(r, keep) g = Gather <axis = 1> (f, i)", "N", np.roll(ORDER, 1)),
    "half of it": ("f = Reshape(r, keep) g = Gather <axis = 1> (f, i)", "N", ORDER[:4]),
    "turned": ("f = Reshape(r, keep) g = Gather <axis = 1> (f, i)", "N", ORDER.T),
}  # fmt: skip


@pytest.mark.parametrize(("body", "batch", "indices"), WHOLE.values(), ids=WHOLE)
def test_all_elements_gathered_in_order(body, batch, indices):
    size = 144 if "all" in body else 72
    indices = np.arange(144).reshape(2, 8, 3, 3) if size == 144 else indices
    source = model_of(
        f"""<ir_version: 8, opset_import: ["" : 17]> g (float[{batch}, 8, 3, 3] x) => (float[] y)
        {{ r = Relu(x) {body} y = Tanh(g) }}""",
        {"i": indices} | ({"all": ints(-1)} if size == 144 else {"keep": ints(0, -1)}),
    )
    result = run_pass(planish.load(source), PASS)
    whole = np.array_equal(indices.reshape(-1) % size, np.arange(size))
    assert ("Gather" in ops(result.graph)) != whole
    assert_same_function(source, result.graph, {"x": X}, 1e-7)
