"""Sizes that are repeated to each other: Einsum and PRelu."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....graph.types import Dim
from ....graph.view import View
from .rule import Rule, RuntimeShape


def _multiplies_names(node: gs.Node, opset: int) -> bool:
    """Inference takes one of the sizes that a letter stands for, where a size of 1 is repeated."""
    return True


def _multiplied(node: gs.Node, view: View) -> RuntimeShape | None:
    equation = str(node.attrs["equation"]).replace(" ", "")
    terms, arrow, result = equation.partition("->")
    shapes = [view.shape(tensor) for tensor in node.inputs]
    if not arrow or "." in equation:
        return None
    sizes: dict[str, set[Dim]] = {}
    for letters, shape in zip(terms.split(","), shapes, strict=False):
        if shape is None or len(shape) != len(letters):
            return None
        for letter, size in zip(letters, shape, strict=True):
            sizes.setdefault(letter, set()).add(size)
    return RuntimeShape(tuple(_repeated(sizes[letter]) for letter in result))


def _repeated(sizes: set[Dim]) -> Dim:
    """Return the size that all of `sizes` are repeated to; None where that is not known."""
    large = [size for size in sizes if isinstance(size, int) and size > 1]
    named = sizes - {1}
    if large or len(named) == 1:
        return large[0] if large else named.pop()
    return None if named else 1


def _repeats_data(node: gs.Node, opset: int) -> bool:
    """Inference gives the sizes of the data, which runtimes repeat for more slopes."""
    return True


def _sloped(node: gs.Node, view: View) -> RuntimeShape | None:
    shapes = [view.shape(tensor) for tensor in node.inputs]
    x, slope = shapes
    if x is None or slope is None:
        return None
    rank = max(len(x), len(slope))
    wide = [(1,) * (rank - len(one)) + one for one in (x, slope)]
    return RuntimeShape(tuple(_repeated(set(sizes)) for sizes in zip(*wide, strict=True)))


EINSUM = Rule(_multiplies_names, _multiplied)
PRELU = Rule(_repeats_data, _sloped)
