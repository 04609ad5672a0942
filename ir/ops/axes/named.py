"""Axes that a node names: by attribute or input, counted from either end."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...core.variables import is_standard
from ...graph.view import View
from ..opsets import has_attribute
from ..parameters import ValuesOf, read_parameter
from ..traits import traits_of
from ..traits.recognized import attribute


def normal_axes(axes: Any, rank: int) -> list[int] | None:
    """Return axes counted from the front, or None where one lies outside."""
    found = [int(axis) + (rank if axis < 0 else 0) for axis in np.ravel(axes)]
    return found if all(0 <= axis < rank for axis in found) else None


def axes_of(
    node: gs.Node, view: View, rank: int, values_of: ValuesOf | None = None
) -> tuple[list[int] | None, bool]:
    """Return the `axes` of `node`, and whether they are known.

    None with True: it names no axes, or an empty list of them. `rank` is that of the tensor whose
    axes they are; for `values_of` see `read_parameter`.
    """
    named = read_parameter(node, "axes", view, values_of)
    if not named.given:
        return None, True
    if named.values is None:
        return None, False
    if not named.values.size:
        return None, True
    found = normal_axes(named.values, rank)
    return found, found is not None


def softmax_axes(node: gs.Node, rank: int, opset: int) -> list[int] | None:
    """Return the axes over which a Softmax, LogSoftmax or Hardmax normalizes together.

    That is `axis`, the last where it is absent; up to opset 12 all from `axis` on, where the second
    is the default. None where it lies outside.
    """
    found = normal_axes(attribute(node, "axis", opset), rank)
    if found is None or not joins_axes(opset):
        return found
    return list(range(found[0], rank))


def normalizes_rows(node: gs.Node, view: View) -> bool:
    """Say whether `node` normalizes its first input along the last axis alone."""
    traits = traits_of(node, view.opset)
    rank = view.rank(node.inputs[0]) if traits.softmax or traits.normalization else None
    if not rank or not is_standard(node) or not has_attribute(node.op, "axis", view.opset):
        return False
    if traits.softmax:
        return softmax_axes(node, rank, view.opset) == [rank - 1]
    if any(t.name and view.rank(t) != 1 for t in node.inputs[1:]):
        return False  # a scale of more axes
    return normal_axes(attribute(node, "axis", view.opset), rank) == [rank - 1]


def joins_axes(opset: int) -> bool:
    """Say whether Softmax and its kin take all axes from `axis` on for one, as before opset 13."""
    return opset < 13
