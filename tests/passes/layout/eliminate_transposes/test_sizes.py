"""Sizes that are read, asked for, or known of nothing: Shape, Reshape and Slice."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, model_of, ops, run_pass
from tests.passes.layout.eliminate_transposes.common import (
    GENERATOR,
    PASS,
    X,
    ints,
    normal,
)


@pytest.mark.parametrize("shape", [(3, 2, 1), (2, 1, 2, 1), (4, 1, 1, 3), (1, 1, 1)])
def test_matrix_of_a_flatten_is_transposed(shape):
    flatten = model_of(
        f"g (float{list(shape)} x) => (float[] y) {{"
        "f = Flatten <axis = 1> (x) y = Transpose <perm = [1, 0]> (f) }"
    )
    result = run_pass(planish.load(flatten), PASS)
    assert_same_function(flatten, result.graph, {"x": normal(*shape)}, 0)


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
