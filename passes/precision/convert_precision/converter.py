"""The edits that make planned nodes narrow, one node an edit and a valid graph after each.

    y = f(x, w)   ->   y = Cast(f'(Cast(x), w'))

A node that follows reads what is under the Cast, and a Cast that nothing reads any more goes: so
between neighbours there is none, and one tensor has one Cast at most in each direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from .narrow import Array
from .slots import Slots
from .stored import is_constant_node

_FLOAT32: np.dtype[Any] = np.dtype(np.float32)


class PrecisionConverter:
    """Makes nodes of the scope of `view` narrow, in their order; `constants` by id."""

    def __init__(
        self, edit: Edit, view: View, dtype: np.dtype[Any], constants: Mapping[int, Array]
    ) -> None:
        self._edit = edit
        self._view = view
        self._dtype = dtype
        self._constants = constants
        # By the id of the float32 tensor, which each entry holds so that the id stays taken.
        self._narrow: dict[int, tuple[gs.Tensor, gs.Tensor]] = {}
        self._widened: dict[int, gs.Node] = {}

    def convert(self, node: gs.Node, slots: Slots) -> None:
        """Make `node` narrow in `slots`."""
        edit, read = self._edit, [node.inputs[p] for p in slots.inputs]
        inputs, outputs = list(node.inputs), list(node.outputs)
        for position, tensor in zip(slots.inputs, read, strict=True):
            inputs[position] = self._narrowed(tensor, node)
        edit.remove(node)
        made = [(p, node.outputs[p]) for p in slots.outputs]
        for position, tensor in made:
            outputs[position] = self._variable(tensor, self._dtype)
            self._narrow[id(tensor)] = (tensor, outputs[position])
        edit.node(node.op, inputs, outputs, dict(node.attrs), at=node)
        for position, tensor in made:
            if edit.uses.fan_out(tensor) or self._view.is_output(tensor):
                attrs = {"to": dtypes.elem_type(_FLOAT32)}
                narrow = outputs[position]
                self._widened[id(tensor)] = edit.node("Cast", [narrow], [tensor], attrs, at=node)
            else:
                edit.take_name(outputs[position], tensor)
        for tensor in {id(t): t for t in read}.values():
            self._collect(tensor)

    def read_narrow(self, node: gs.Node) -> bool:
        """Let `node`, to which the type is all the same, read what is under a Cast, if it can."""
        tensor = node.inputs[0]
        if id(tensor) not in self._widened or not self._edit.begin():
            return False
        self._edit.set_input(node, 0, self._narrow[id(tensor)][1])
        self._collect(tensor)
        return True

    def _narrowed(self, tensor: gs.Tensor, at: gs.Node) -> gs.Tensor:
        if id(tensor) not in self._narrow:
            widening = self._view.producer(tensor)
            if widening is not None and self._widens(widening):
                narrow: gs.Tensor = widening.inputs[0]
            elif id(tensor) in self._constants:
                name = f"{tensor.name}_{self._dtype.name}"
                narrow = self._edit.constant(self._constants[id(tensor)], name)
            else:
                narrow = self._variable(tensor, self._dtype)
                attrs = {"to": dtypes.elem_type(self._dtype)}
                self._edit.node("Cast", [tensor], [narrow], attrs, at=at)
            self._narrow[id(tensor)] = (tensor, narrow)
        return self._narrow[id(tensor)][1]

    def _widens(self, node: gs.Node) -> bool:
        return node.op == "Cast" and self._view.dtype(node.inputs[0]) == self._dtype

    def _variable(self, tensor: gs.Tensor, dtype: np.dtype[Any]) -> gs.Variable:
        kind = TensorType(dtype, self._view.shape(tensor))
        return self._edit.variable(f"{tensor.name}_{dtype.name}", kind)

    def _collect(self, tensor: gs.Tensor) -> None:
        """Give the narrow tensor the name of the float32 one, where that is needed no more."""
        edit = self._edit
        if edit.uses.fan_out(tensor) or self._view.is_output(tensor):
            return
        widened = self._widened.pop(id(tensor), None)
        if widened is not None:
            edit.remove(widened)
        if widened is not None or isinstance(tensor, gs.Constant):
            edit.take_name(self._narrow[id(tensor)][1], tensor)
            return
        made_by = self._view.producer(tensor)
        if made_by is None:
            return
        if self._widens(made_by):
            edit.remove(made_by)
        elif is_constant_node(made_by):
            edit.remove(made_by)
            edit.take_name(self._narrow[id(tensor)][1], tensor)
