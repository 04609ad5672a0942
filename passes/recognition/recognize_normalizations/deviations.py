"""A tensor divided by its standard deviation, read from its arithmetic.

(x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon)
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.axes.reductions import Reduction, read_reduction
from ..expressions import affine, producer_of, scalar

Nodes = tuple[gs.Node, ...]


@dataclass(frozen=True)
class Normalized:
    """What is normalized, over which axes; `nodes` lie below the last one."""

    source: gs.Tensor
    axes: tuple[int, ...]
    epsilon: float
    nodes: Nodes


def read_normalized(node: gs.Node, view: View) -> Normalized | None:
    """Return what `node`, a Div or Mul, normalizes, or None where it does something else."""
    a, b = node.inputs
    for centered, scaling in ((a, b), (b, a)) if node.op == "Mul" else ((a, b),):
        subtract = producer_of(centered, view, "Sub")
        if subtract is None:
            continue
        root = _root(scaling, view) if node.op == "Div" else _reciprocal_root(scaling, view)
        found = None if root is None else _normalized(subtract, *root, view)
        if found is not None:
            return found
    return None


def _root(tensor: gs.Tensor, view: View) -> tuple[gs.Tensor, Nodes] | None:
    """Return v and the nodes of sqrt(v)."""
    node = producer_of(tensor, view, "Sqrt", "Pow")
    if node is None or (node.op == "Pow" and _exponent(node, view) != 0.5):
        return None
    return node.inputs[0], (node,)


def _reciprocal_root(tensor: gs.Tensor, view: View) -> tuple[gs.Tensor, Nodes] | None:
    """Return v and the nodes of 1 / sqrt(v)."""
    node = producer_of(tensor, view, "Reciprocal", "Div", "Pow")
    if node is None:
        return None
    if node.op == "Pow":
        return (node.inputs[0], (node,)) if _exponent(node, view) == -0.5 else None
    if node.op == "Div" and scalar(node.inputs[0], node.inputs[1], view) != 1:
        return None
    root = _root(node.inputs[-1], view)
    return None if root is None else (root[0], (node, *root[1]))


def _exponent(node: gs.Node, view: View) -> float | None:
    return scalar(node.inputs[1], node.inputs[0], view)


def _normalized(
    subtract: gs.Node, variance: gs.Tensor, root: Nodes, view: View
) -> Normalized | None:
    shifted = affine(variance, view)
    spread = producer_of(shifted.source, view, "ReduceMean")
    if spread is None or shifted.scale != 1 or shifted.shift < 0:
        return None
    mean = producer_of(subtract.inputs[1], view, "ReduceMean")
    around = None if mean is None else _means(mean, view)
    if mean is None or around is None or around.source is not subtract.inputs[0]:
        return None
    squares = _means(spread, view)
    if squares is None or squares.axes != around.axes:
        return None
    square = _squared(squares.source, subtract, view)
    if square is None:
        return None
    nodes = (*root, *shifted.nodes, spread, *square, subtract, mean)
    return Normalized(around.source, around.axes, shifted.shift, nodes)


def _means(node: gs.Node, view: View) -> Reduction | None:
    found = read_reduction(node, view)
    return found if found is not None and found.keepdims and found.axes else None


def _squared(tensor: gs.Tensor, subtract: gs.Node, view: View) -> Nodes | None:
    """Return the nodes that square the difference of `subtract`, or one of the same operands."""
    node = producer_of(tensor, view, "Mul", "Pow")
    if node is None:
        return None
    base = node.inputs[0]
    if node.op == "Mul" and node.inputs[1] is not base:
        return None
    if node.op == "Pow" and _exponent(node, view) != 2:
        return None
    if base is subtract.outputs[0]:
        return (node,)
    twin = producer_of(base, view, "Sub")
    same = twin is not None and all(
        a is b for a, b in zip(twin.inputs, subtract.inputs, strict=True)
    )
    return (node, twin) if same and twin is not None else None
