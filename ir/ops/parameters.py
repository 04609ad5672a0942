"""What an operator takes besides data, wherever its opset has it: attributes that became inputs.

Slice has starts and ends, Clip bounds, a reduction axes, Reshape a target: attributes at first,
then inputs, whose place changed too. `read_parameter` finds one, `spell` says where it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core.decline import need
from ..graph.view import View
from .opsets import has_attribute, position_of

Array = np.ndarray[Any, Any]
ValuesOf = Callable[[gs.Tensor], Array | None]

# What became an input of another name.
_INPUT_NAMES = {("Pad", "value"): "constant_value", ("TopK", "k"): "K"}
# The parameters that are lists of sizes, and so computed by exporters.
LISTS_OF_SIZES = {
    "ConstantOfShape": "input",
    "Expand": "shape",
    "Reshape": "shape",
    "Resize": "sizes",
    "Slice": "ends",
    "Tile": "repeats",
}
_OLD_NAMES = {("Pad", "pads"): "paddings"}  # in opset 1


@dataclass(frozen=True)
class Parameter:
    """A parameter of a node: the input at `position`, or an attribute where that is None.

    `values` is None where it is absent, and where it is computed.
    """

    name: str
    position: int | None
    given: bool
    values: Array | None

    @property
    def known(self) -> bool:
        """Say whether it is absent or constant."""
        return not self.given or self.values is not None

    def ints(self) -> list[int] | None:
        """Return the values as a flat list of integers; None where there are none."""
        return None if self.values is None else [int(value) for value in self.values.reshape(-1)]


def read_parameter(
    node: gs.Node, name: str, view: View, values_of: ValuesOf | None = None
) -> Parameter:
    """Return the parameter `name` (that of the attribute) of a standard node.

    `values_of` says what a tensor holds, where more is known than the view's constants.
    """
    position = input_of(node.op, name, view.opset)
    if position is not None:
        given = position < len(node.inputs) and not node.inputs[position].is_empty()
        values = (values_of or view.constant)(node.inputs[position]) if given else None
        return Parameter(name, position, given, values)
    held = node.attrs.get(name, node.attrs.get(_OLD_NAMES.get((node.op, name), name)))
    if held is None or isinstance(held, gs.Node.AttributeRef):
        return Parameter(name, None, held is not None, None)
    # GraphSurgeon holds an empty list as a proto.
    usable = isinstance(held, int | float | list | tuple | np.ndarray)
    return Parameter(name, None, True, _array(held if usable else ()))


def need_parameter(
    node: gs.Node, name: str, view: View, values_of: ValuesOf | None = None
) -> Array | None:
    """Return the values of a parameter, None where it is absent; declines where it is computed."""
    found = read_parameter(node, name, view, values_of)
    verb = "are" if name.endswith("s") else "is"
    need(found.known, f"its {name} {verb} not constant")
    return found.values


def input_of(op: str, name: str, opset: int) -> int | None:
    """Return which input the parameter `name` is at `opset`, None where it is an attribute."""
    found = position_of(op, _INPUT_NAMES.get((op, name), name), opset)
    # Split had both in opset 1; what exporters wrote then is the attribute.
    return None if found is not None and has_attribute(op, name, opset) else found


def spell(
    op: str, opset: int, parameters: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[int, Array]]:
    """Return attributes, and constants by input position, that state `parameters` at `opset`.

    Integers become int64 as inputs; arrays keep their type. What is None is left out.
    """
    attrs: dict[str, Any] = {}
    constants: dict[int, Array] = {}
    for name, given in parameters.items():
        if given is None:
            continue
        values = _array(given)
        position = input_of(op, name, opset)
        if position is None:
            attrs[_OLD_NAMES.get((op, name), name) if opset < 2 else name] = values.tolist()
        else:
            constants[position] = values
    return attrs, constants


def _array(given: Any) -> Array:
    """Return an array, of int64 where it holds integers or nothing."""
    if isinstance(given, np.ndarray | np.generic):
        return np.asarray(given)
    values = np.asarray(given)
    return values.astype(np.int64) if not values.size or values.dtype.kind in "iub" else values
