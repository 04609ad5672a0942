"""Operators with their axes renamed: run on permuted tensors, they compute the permuted result."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.graph.types import TensorType
from planish.ir.graph.uses import Uses
from planish.ir.graph.view import View
from planish.ir.ops.axes.ports import (
    LayoutChange,
    Ports,
    alike,
    elementwise,
    int64,
    renamed_axes,
    renamed_axis,
    unchanged,
)

from tests.helpers import graph_of, run_ort, view_of

X = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
ORDERS = list(itertools.permutations(range(3)))


def opened(body, opset, weights=None, inputs="float[2, 3, 4] x"):
    graph = graph_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => (float[] y) {{ {body} }}',
        weights,
    )
    return graph, graph.nodes[-1], view_of(graph)


def run_permuted(graph, node, change: LayoutChange, order):
    """Return what the changed node makes of x in another order."""
    node.attrs.update(change.attrs)
    for position, values in change.constants.items():
        node.inputs[position] = gs.Constant(f"c{position}", values)
    graph.inputs[0].shape = [X.shape[axis] for axis in order]
    return run_ort(planish.to_model(graph), {"x": X.transpose(order)})["y"]


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("opset", [11, 13])
def test_the_same_axes_are_reduced_after_a_permutation(opset, order):
    weights = {"axes": np.array([0, 2])} if opset == 13 else {}
    body = "y = ReduceSum(x, axes)" if opset == 13 else "y = ReduceSum <axes = [0, 2]> (x)"
    graph, node, view = opened(body, opset, weights)
    change = renamed_axes(node, [0, 2], order, view)
    found = run_permuted(graph, node, change, order)
    assert np.array_equal(found, X.sum((0, 2), keepdims=True).transpose(order))


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_the_axes_of_a_slice_have_the_type_of_its_starts(kind, order):
    weights = {
        name: np.array(values, kind)
        for name, values in {"starts": [1, 1], "ends": [3, 2], "axes": [2, 0]}.items()
    }
    graph, node, view = opened("y = Slice(x, starts, ends, axes)", 13, weights)
    change = renamed_axes(node, [2, 0], order, view)
    assert {values.dtype for values in change.constants.values()} == {np.dtype(kind)}
    found = run_permuted(graph, node, change, order)
    assert np.array_equal(found, X[1:2, :, 1:3].transpose(order))


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_the_same_axis_is_searched_after_a_permutation(order):
    graph, node, _ = opened("y = Concat <axis = 1> (x, x)", 13)
    found = run_permuted(graph, node, renamed_axis(1, order), order)
    assert np.array_equal(found, np.concatenate([X, X], axis=1).transpose(order))


def test_ports_alike_are_of_all_outputs_there_are():
    node = gs.Node("Split", outputs=[gs.Variable("a"), gs.Variable.empty(), gs.Variable("b")])
    found = alike(node, 3, unchanged)
    assert (found.rank, found.rebuild) == (3, unchanged)
    assert found.inputs == {0: (0, 1, 2)}
    assert found.outputs == {0: (0, 1, 2), 2: (0, 1, 2)}
    assert found.rebuild((2, 0, 1)) == LayoutChange()
    more = alike(node, 2, unchanged, 0, 2, wants_last=1)
    assert more.inputs == {0: (0, 1), 2: (0, 1)}
    assert more.wants_last == 1


def test_operands_of_full_rank_are_told_from_those_that_are_broadcast():
    sizes = "float[2, 3, 4] x, float[3, 1] u, float v, float[2, 1, 4] w"
    _, node, view = opened("y = Sum(x, u, v, w)", 13, inputs=sizes)
    found = elementwise(node, view, 4)
    assert set(found.inputs) == {0, 3}
    assert found.loose == (1, 2)
    assert found.rank == 3
    assert found.rebuild((0, 2, 1)) == LayoutChange()
    first = elementwise(node, view, 1)
    assert (set(first.inputs), first.loose) == ({0}, ())


def test_operands_that_do_not_align_have_no_ports():
    _, node, view = opened("y = Add <axis = 0, broadcast = 1> (x, u)", 6,
                           inputs="float[2, 3, 4] x, float[2] u")  # fmt: skip
    assert elementwise(node, view, 2) is None
    assert elementwise(node, view, 1) is not None
    _, node, view = opened("y = Add (u, v)", 13, inputs="float[1, 3] u, float[2, 1, 1] v")
    assert elementwise(node, view, 1) is None  # neither has all axes of the result
    graph, node, _ = opened("y = Add (x, u)", 13, inputs="float[2, 3] x, float[3] u")
    graph.inputs[1].shape = None
    assert elementwise(node, view_of(graph), 2) is None
    known = {"x": TensorType(np.dtype(np.float32), (2, 3))}
    view = View(graph, Uses(graph), lambda tensor: known.get(tensor.name))
    assert elementwise(node, view, 1) is None  # its result may be of any rank


@pytest.mark.parametrize("axes", [(0, 1, 3), (1, 2), (0, 3), ()], ids=str)
def test_free_axes_stay_beside_their_neighbour(axes):
    every = range(4)
    free = frozenset(every) - set(axes)
    ports = Ports(rank=4, inputs={}, outputs={}, rebuild=unchanged, free=free)
    for order in itertools.permutations(range(len(axes))):
        found = ports.whole(axes, order)
        assert sorted(found) == list(every)
        assert [axis for axis in found if axis in axes] == [axes[place] for place in order]
        for axis in free:
            assert found.index(axis) == (found.index(axis - 1) + 1 if axis else 0)
    assert ports.whole((0, 1), (0,)) is None
    fixed = Ports(rank=4, inputs={}, outputs={}, rebuild=unchanged)
    assert fixed.whole((0, 1), (1, 0)) is None
    assert fixed.whole((0, 1, 2, 3), (3, 1, 0, 2)) == (3, 1, 0, 2)


def test_axes_are_of_64_bits():
    assert int64([1, 2]).dtype == np.int64
    assert int64([1, 2]).tolist() == [1, 2]
    assert int64([]).dtype == np.int64


def test_the_axes_of_a_slice_whose_starts_have_no_known_type():
    weights = {name: np.array([1]) for name in ("starts", "ends", "axes")}
    graph, node, _ = opened("y = Slice(x, starts, ends, axes)", 13, weights)
    view = View(graph, Uses(graph), lambda tensor: None)
    change = renamed_axes(node, [1], (1, 0, 2), view)
    assert {values.dtype for values in change.constants.values()} == {np.dtype(np.int64)}
    node.inputs = [graph.inputs[0]]
    change = renamed_axes(node, [1], (1, 0, 2), view_of(graph))
    assert {values.dtype for values in change.constants.values()} == {np.dtype(np.int64)}
