"""Lists of sizes: read from where they are known, equal ones the same nodes."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, model_of, ops, run_pass
from tests.passes.layout.simplify_reshapes.common import PASS, ints

TOKEN = """
g (float[N, 4, 6] x) => (float[] y) {
    s = Shape(x) n = Gather(s, zero) u = Unsqueeze(n, axis)
    t = Concat <axis = 0> (u, free, free)
    ones = ConstantOfShape <value = int64[1] {1}> (three) none = Mul(ones, free)
    e = Equal(t, none) w = Where(e, ones, t) k = Expand(token, w)
    y = Concat <axis = 1> (k, x)
}
"""


@pytest.mark.parametrize(("opset", "steps"), [(13, ["Shape", "Slice"]), (15, ["Shape"])])
def test_a_class_token_for_each_of_the_batch(opset, steps):
    source = model_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]> {TOKEN}',
        {
            "zero": np.array(0),
            "axis": ints(0),
            "free": ints(-1),
            "three": ints(3),
            "token": np.random.default_rng(2).standard_normal((1, 1, 6)).astype(np.float32),
        },
    )
    result = run_pass(planish.load(source), "fold-constants,simplify-reshapes,eliminate-dead-code")
    assert ops(result.graph) == [*steps, "Concat", "Expand", "Concat"]
    for batch in (1, 3):
        x = np.ones((batch, 4, 6), np.float32)
        assert_same_function(source, result.graph, {"x": x}, 0)


def test_sizes_of_two_tensors_are_taken_in_runs():
    source = model_of(
        """g (float[N, 3, H, W] x, float[N, 5, P, Q] z) => (float[] y) {
            a = Shape(x) b = Shape(z) n = Gather(a, i0) c = Gather(a, i1) p = Gather(b, i2)
            q = Gather(b, i3) n1 = Unsqueeze(n, ax) c1 = Unsqueeze(c, ax) p1 = Unsqueeze(p, ax)
            q1 = Unsqueeze(q, ax) t = Concat <axis = 0> (n1, c1, p1, q1)
            r = Resize <mode = "linear"> (x, , , t) y = Concat <axis = 1> (r, z) }""",
        {**{f"i{k}": np.array(k) for k in range(4)}, "ax": ints(0)},
    )
    result = run_pass(planish.load(source), "fold-constants,simplify-reshapes,eliminate-dead-code")
    assert sorted(ops(result.graph)) == ["Concat", "Concat", "Resize", "Shape", "Shape"]
    rng = np.random.default_rng(4)
    feeds = {
        "x": rng.standard_normal((2, 3, 4, 5)).astype(np.float32),
        "z": rng.standard_normal((2, 5, 7, 3)).astype(np.float32),
    }
    assert_same_function(source, result.graph, feeds, 0)


@pytest.mark.parametrize(
    ("end", "wanted"),
    [("Identity(h)", 2**63 - 1), ("Sub(h, one)", -1), ("Add(h, one)", 2**63 - 1)],
)
def test_ends_counted_from_the_own_size(end, wanted):
    source = model_of(
        f"""g (float[N, 3, H, W] x) => (float[] y) {{ s = Shape(x) h = Slice(s, two, three, zero)
            e = {end} y = Slice(x, one, e, two) }}""",
        {"zero": ints(0), "one": ints(1), "two": ints(2), "three": ints(3)},
    )
    result = run_pass(planish.load(source), PASS)
    assert ops(result.graph) == ["Slice"]
    assert result.graph.nodes[0].inputs[2].values.tolist() == [wanted]
    for height in (0, 1, 2, 5):
        x = np.random.default_rng(1).standard_normal((2, 3, height, 2)).astype(np.float32)
        assert_same_function(source, result.graph, {"x": x}, 0)


def test_an_end_that_may_be_below_zero_stays():
    source = model_of(
        """g (float[N, H] x) => (float[] y) { s = Shape(x) h = Slice(s, one, two, zero)
            e = Sub(h, four) y = Slice(x, zero, e, one) }""",
        {"zero": ints(0), "one": ints(1), "two": ints(2), "four": ints(4)},
    )
    result = run_pass(planish.load(source), PASS)
    for height in (1, 2, 3, 5):
        x = np.ones((2, height), np.float32)
        assert_same_function(source, result.graph, {"x": x}, 0)


def test_two_tokens_share_what_says_the_batch():
    source = model_of(
        """g (float[N, 4, 6] x) => (float[] y) { r = Relu(x) s = Shape(r) n = Gather(s, zero)
            u = Unsqueeze(n, axis) t = Concat <axis = 0> (u, one, one) k = Expand(token, t)
            l = Expand(other, t) y = Concat <axis = 1> (k, l, r) }""",
        {
            "zero": np.array(0), "axis": ints(0), "one": ints(1),
            "token": np.full((1, 1, 6), 2, np.float32), "other": np.ones((1, 1, 6), np.float32),
        },
    )  # fmt: skip
    result = run_pass(planish.load(source), PASS)
    assert sorted(ops(result.graph)) == ["Concat", "Concat", "Expand", "Expand", "Relu", "Shape"]
    x = np.ones((3, 4, 6), np.float32)
    assert_same_function(source, result.graph, {"x": x}, 0)


def test_lists_that_hold_the_same_become_the_same_nodes():
    source = model_of(
        """g (float[N, 4] x) => (float[] y) { r = Relu(x) s = Shape <end = 1> (r)
            a = Concat <axis = 0> (s, four) p = ConstantOfShape(a) q = Exp(r)
            t = Shape <end = 1> (q) b = Concat <axis = 0> (t, four) u = ConstantOfShape(b)
            v = Add(p, u) y = Add(v, q) }""",
        {"four": ints(4)},
    )
    steps = f"repeat({PASS},eliminate-common-subexpressions)"
    result = run_pass(planish.load(source), steps)
    # The input has the shape itself.
    assert [op for op in ops(result.graph) if "Shape" in op] == ["Shape", "ConstantOfShape"]
    assert "Concat" not in ops(result.graph)
    x = np.ones((3, 4), np.float32)
    assert_same_function(source, result.graph, {"x": x}, 0)


def test_lists_of_products_that_hold_the_same_are_one():
    source = model_of(
        """g (float[N, 4] x) => (float[] y) { r = Relu(x) s = Shape <end = 1> (r)
            m = Mul(s, two) a = Concat <axis = 0> (m, four) p = ConstantOfShape(a) q = Exp(r)
            t = Shape <end = 1> (q) d = Add(t, t) b = Concat <axis = 0> (d, four)
            u = ConstantOfShape(b) y = Add(p, u) }""",
        {"two": ints(2), "four": ints(4)},
    )
    result = run_pass(planish.load(source), f"{PASS},eliminate-common-subexpressions")
    assert ops(result.graph) == ["Relu", "Shape", "Mul", "Concat", "ConstantOfShape", "Add"]
    x = np.ones((3, 4), np.float32)
    assert_same_function(source, result.graph, {"x": x}, 0)


@pytest.mark.parametrize("batch", [0, 2])
def test_a_size_that_copies_another_where_it_is_zero(batch):
    source = model_of(
        """g (float[N, 1, 5] x) => (float[] y) { s = Shape(x) n = Slice(s, zero, one, zero)
            t = Concat <axis = 0> (one, m1, n) y = Reshape(x, t) }""",
        {"zero": ints(0), "one": ints(1), "m1": ints(-1)},
    )
    result = run_pass(planish.load(source), PASS)
    x = np.zeros((batch, 1, 5), np.float32)
    assert_same_function(source, result.graph, {"x": x}, 0)


@pytest.mark.parametrize(
    ("read", "reader"),
    [
        ("y = ConstantOfShape(e)", "ConstantOfShape"),
        ("s = Squeeze(x) y = Tile(s, e)", "Tile"),
        ("y = Reshape(x, e)", "Reshape"),
        ("y = Expand(w, e)", "Expand"),
    ],
)
def test_a_list_of_no_sizes_is_written_as_one(read, reader):
    model = model_of(
        f"g (float[1] x) => (float[] y) {{ e = Slice(one, zero, least, zero) {read} }}",
        {
            "zero": np.array([0], np.int64),
            "one": np.array([1], np.int64),
            "least": np.array([np.iinfo(np.int64).min]),
            "w": np.array([2], np.float32),
        },
    )
    graph = run_pass(planish.load(model), "simplify-reshapes").graph
    (node,) = (node for node in graph.nodes if node.op == reader)
    assert node.inputs[-1].values.shape == (0,)
    assert_same_function(model, graph, {"x": np.ones(1, np.float32)}, 0)
