"""Which Transposes are worth more than others: where they cost least, and what is no gain."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, model_of, ops, reasons, run_pass
from tests.passes.layout.eliminate_transposes.common import (
    GENERATOR,
    PASS,
    X,
    between,
    ints,
    normal,
)
from tests.work import calls_in


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
