"""Permutations of axes, against numpy's transpose."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from planish.ir.ops.axes.permutation import (
    induced,
    inverse,
    is_identity,
    moves_only_ones,
    perm_of,
    permuted,
    then,
)

from tests.helpers import graph_of, view_of

X = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
ORDERS = list(itertools.permutations(range(4)))


@pytest.mark.parametrize("first", ORDERS, ids=str)
def test_permutations_compose_and_are_undone_as_transposes_are(first):
    moved = X.transpose(first)
    assert permuted(X.shape, first) == moved.shape
    assert np.array_equal(moved.transpose(inverse(first)), X)
    assert is_identity(first) == (moved.shape == X.shape)
    for second in ORDERS:
        assert np.array_equal(X.transpose(then(first, second)), moved.transpose(second))


@pytest.mark.parametrize("axes", [(0, 2, 3), (1, 3), (2,), ()], ids=str)
def test_what_lacks_axes_is_permuted_as_the_rest(axes):
    lacking = tuple(axis for axis in range(4) if axis not in axes)
    part = X[tuple(0 if axis in lacking else slice(None) for axis in range(4))]
    for order in ORDERS:
        moved = X.transpose(order)
        cut = tuple(0 if axis in lacking else slice(None) for axis in order)
        assert np.array_equal(part.transpose(induced(order, axes)), moved[cut])


@pytest.mark.parametrize("shape", [(2, 1, 3, 1), (1, 1, 1, 4), (2, 3, 1, 4)], ids=str)
def test_no_element_moves_where_only_ones_do(shape):
    x = np.arange(np.prod(shape)).reshape(shape)
    for order in ORDERS:
        stays = np.array_equal(x.transpose(order).ravel(), x.ravel())
        assert moves_only_ones(shape, order) == stays
    assert not moves_only_ones(None, (0, 1))
    assert moves_only_ones((1, "n", 3), (1, 0, 2))
    assert not moves_only_ones((2, "n", 3), (1, 0, 2))


def test_the_order_of_a_transpose_is_reversed_by_default():
    graph = graph_of(
        "g (float[2, 3, 4] x, float[] u) => (float[] y, float[] z, float[] v, float[] w) "
        "{ y = Transpose(x) z = Transpose <perm = [1, 0, 2]> (x) v = Relu(x) w = Transpose(u) }"
    )
    graph.inputs[1].shape = None
    view = view_of(graph)
    assert [perm_of(node, view) for node in graph.nodes] == [(2, 1, 0), (1, 0, 2), None, None]
    assert perm_of(None, view) is None
    other = gs.Node("Transpose", attrs={"perm": [1, 0]}, domain="com.example")
    assert perm_of(other, view) is None
