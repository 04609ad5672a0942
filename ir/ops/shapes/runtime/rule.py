"""A rule of one operator: where inference is doubted, and what shape a kernel writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import onnx_graphsurgeon as gs

from ....core.constant_nodes import value_of_constant_node
from ....core.variables import is_standard
from ....graph.types import Shape
from ....graph.view import View
from ...parameters import Array


@dataclass(frozen=True)
class RuntimeShape:
    """The shape of all results of a node; None where even the rank is not known.

    `dtype`: their type, where inference is not to see the node; None for that of the first input.
    """

    shape: Shape | None
    dtype: Any = None


class Rule(NamedTuple):
    """Whether inference may be wrong about a node of an opset, and the shape that it has."""

    doubts: Callable[[gs.Node, int], bool]
    shape: Callable[[gs.Node, View], RuntimeShape | None]


def values_of(view: View) -> Callable[[gs.Tensor], Array | None]:
    """Return what gives the values of constants, those of Constant nodes too."""

    def values(tensor: gs.Tensor) -> Array | None:
        held = view.constant(tensor)
        node = view.producer(tensor) if held is None else None
        if node is None or node.op != "Constant" or not is_standard(node):
            return held
        return value_of_constant_node(node)

    return values
