"""A node of a window, and what it enters in the classes of axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...graph.types import Dim, TensorType
from .classes import AxisClasses

Types = Mapping[str, TensorType]
ValueOf = Callable[[gs.Tensor], np.ndarray[Any, Any] | None]


def is_open(dim: Dim) -> bool:
    """Say whether a size is open."""
    return not isinstance(dim, int)


@dataclass(frozen=True, kw_only=True)
class NodeAxes:
    """A node, the types of its tensors, and the classes to enter them in.

    `types`: at sizes that were chosen; `opened`: the same with names for the sizes that are open.
    `values`: the value of a tensor that no input decides, None of others.
    """

    node: gs.Node
    opset: int
    side: int
    types: Types
    opened: Types
    classes: AxisClasses
    values: ValueOf

    def enter_constants(self) -> None:
        """Keep what constants have, and axes of one element, which may be broadcast."""
        for tensor in (*self.node.inputs, *self.node.outputs):
            constant = isinstance(tensor, gs.Constant)
            for axis, size in enumerate(self.shape(tensor) or ()):
                if constant or (size <= 1 and not is_open(self.dim(tensor, axis))):
                    self.keep_axis(tensor, axis)

    def dim(self, tensor: gs.Tensor, axis: int) -> Dim:
        """Return a size, by its name where it is open, None where it is not known."""
        if isinstance(tensor, gs.Constant):
            return int(tensor.shape[axis])
        found = self.opened.get(tensor.name)
        if found is None or found.shape is None or len(found.shape) <= axis:
            return None
        return found.shape[axis]

    def shape(self, tensor: gs.Tensor) -> tuple[int, ...] | None:
        """Return the sizes that were chosen, None where they are not known."""
        if isinstance(tensor, gs.Constant):
            return tuple(tensor.shape)
        found = self.types.get(tensor.name)
        shape = None if found is None else found.shape
        if shape is None or not all(isinstance(size, int) for size in shape):
            return None
        return tuple(size for size in shape if isinstance(size, int))

    def keep(self, tensors: Sequence[gs.Tensor] | None = None) -> None:
        """Keep all sizes of `tensors`, by default of all that the node reads and gives."""
        for tensor in (*self.node.inputs, *self.node.outputs) if tensors is None else tensors:
            for axis in range(len(self.shape(tensor) or ())):
                self.classes.keep((id(tensor), axis))

    def tie(self, x: gs.Tensor, axis: int, y: gs.Tensor, to: int) -> None:
        """Have an axis of `x` and one of `y` change together."""
        self.classes.tie((id(x), axis), (id(y), to))

    def keep_axis(self, tensor: gs.Tensor, axis: int) -> None:
        """Note that the node is not local along an axis."""
        self.classes.keep((id(tensor), axis))

    def named(self, name: str, position: int) -> list[int] | None:
        """Return what an attribute or an input that is known gives; None where it is neither."""
        if name in self.node.attrs:
            return [int(each) for each in self.node.attrs[name]]
        if len(self.node.inputs) <= position or not self.node.inputs[position].name:
            return None
        values = self.values(self.node.inputs[position])
        return None if values is None else [int(each) for each in values.reshape(-1)]
