"""Which nodes become one kernel: an operator, and the element-wise operators that follow it.

A group grows as long as only its last value is read elsewhere, so that nothing it holds has to be
stored: Conv, Add (a bias or another branch), Relu; or Conv, Sigmoid, Mul (Silu). It stands where
its last node stood, after everything that its nodes read. What operands may be hangs on whether
its tensors lie in blocks of channels, or as ONNX has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.types import Shape
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import is_dequantizer, quantizes_or_back
from ....ir.ops.traits import NEWEST, attribute, traits_of
from ..spec.scalars import SCALARS
from .quantized import quantization_of

_LONGEST = 12
# Kernels compute in float32 and store either.
REAL = (np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16))


# Whether a tensor can be an operand of what gives a tensor of some shape.
CanRead = Callable[[gs.Tensor, Shape, View], bool]


@dataclass
class FusionGroup:
    """An operator and the element-wise nodes that its kernel goes on with, in order.

    `plain`: its tensors are to lie as ONNX has them.
    """

    anchor: gs.Node
    followers: list[gs.Node] = field(default_factory=list)
    plain: bool = False

    @property
    def result(self) -> gs.Tensor:
        """The one tensor that is stored."""
        return (self.followers or [self.anchor])[-1].outputs[0]


def group_nodes(
    nodes: Sequence[gs.Node], view: View, reads: Callable[[gs.Node], CanRead | None]
) -> list[FusionGroup]:
    """Return groups that cover `nodes`, in an order in which they can run.

    `reads` says of an operator what the kernel that others can follow may read besides, None where
    it has none: `can_be_operand` or `can_broadcast`.
    """
    position = {id(node): index for index, node in enumerate(nodes)}
    taken: set[int] = set()
    placed: list[tuple[int, FusionGroup]] = []
    for index, node in enumerate(nodes):
        if id(node) in taken:
            continue
        can_read = reads(node)
        group = FusionGroup(node, plain=can_read is can_broadcast)
        if can_read is not None:
            group.followers = _followers(node, view, can_read, position, taken)
            taken.update(map(id, group.followers))
        last = position[id(group.followers[-1])] if group.followers else index
        placed.append((last, group))
    return [group for _, group in sorted(placed, key=lambda item: item[0])]


def _followers(
    anchor: gs.Node,
    view: View,
    can_read: CanRead,
    position: dict[int, int],
    taken: set[int],
) -> list[gs.Node]:
    """Return the longest row of nodes after `anchor` of which only the last value is visible."""
    start = anchor.outputs[0]
    shape = view.shape(start)
    if shape is None or view.dtype(start) not in REAL:
        return []
    members: list[gs.Node] = []
    inside = {id(anchor)}
    values = {id(start): start}
    longest = 0
    while len(members) < _LONGEST:
        readers = {
            id(reader): reader for value in values.values() for reader in view.readers(value)
        }
        waiting = [
            reader
            for key, reader in readers.items()
            if key not in inside and key not in taken and key in position
            and _can_follow(reader, values, shape, view, can_read)
        ]  # fmt: skip
        if not waiting:
            break
        node = min(waiting, key=lambda reader: position[id(reader)])
        members.append(node)
        inside.add(id(node))
        values[id(node.outputs[0])] = node.outputs[0]
        visible = [value for value in values.values() if _is_visible(value, inside, view)]
        stored = not is_dequantizer(node)  # its bytes are stored instead
        if stored and len(visible) == 1 and visible[0] is node.outputs[0]:
            longest = len(members)
    return members[:longest]


def _is_visible(value: gs.Tensor, inside: set[int], view: View) -> bool:
    return view.is_output(value) or any(id(r) not in inside for r in view.readers(value))


def _can_follow(
    node: gs.Node, values: dict[int, gs.Tensor], shape: Shape, view: View, can_read: CanRead
) -> bool:
    if not is_scalar_operator(node, view) or view.shape(node.outputs[0]) != shape:
        return False
    if can_read is can_broadcast and not is_plain_scalar(node, view):
        return False
    given = operands(node)
    others = [t for t in given if id(t) not in values]
    if len(others) == len(given):
        return False  # it reads one of these as a parameter
    return all(can_read(tensor, shape, view) for tensor in others)


def operands(node: gs.Node) -> list[gs.Tensor]:
    """Return the tensors that an element-wise `node` combines: its data, and what broadcasts."""
    traits, count = traits_of(node, NEWEST), len(node.inputs)
    given = sorted({*traits.data_of(count), *traits.operands_of(count)})
    return [node.inputs[place] for place in given if not node.inputs[place].is_empty()]


def is_scalar_operator(node: gs.Node, view: View) -> bool:
    """Say whether `node` works on each real element alone, with an expression for it.

    The bytes between QuantizeLinear and DequantizeLinear count as float32.
    """
    if node.op not in SCALARS or not is_standard(node) or len(node.outputs) != 1:
        return False
    if quantizes_or_back(node):
        return quantization_of(node, view) is not None
    if view.dtype(node.outputs[0]) not in REAL:
        return False
    if view.dtype(node.inputs[0]) not in REAL:
        return False
    if node.op == "Clip":
        return all(
            tensor.is_empty() or _number(view.constant(tensor)) is not None
            for tensor in node.inputs[1:]
        )
    if node.op == "Gelu" and attribute(node, "approximate", view.opset) != "none":
        return False
    return not any(tensor.is_empty() for tensor in node.inputs)


def _number(values: np.ndarray[Any, Any] | None) -> float | None:
    return float(values.reshape(-1)[0]) if values is not None and values.size == 1 else None


def can_be_operand(tensor: gs.Tensor, shape: Shape, view: View) -> bool:
    """Say whether `tensor` broadcasts to `shape` so that a blocked kernel can read it.

    A constant may lack any axis but the channels', unless it is a single number; another tensor
    has as many axes, all channels, and on other axes the full size or 1.
    """
    found = view.shape(tensor)
    if found is None or view.dtype(tensor) not in REAL or len(found) > len(shape):
        return False
    values = view.constant(tensor)
    if values is not None and values.size == 1:
        return True
    if len(shape) < 2:
        return False
    if values is None and len(found) != len(shape):
        return False
    found = (*[1] * (len(shape) - len(found)), *found)
    if found[1] != shape[1] or not isinstance(found[1], int):
        return False
    if values is not None and found[0] != 1:
        return False
    return all(
        (size == wanted and size is not None) or size == 1
        for size, wanted in zip(found, shape, strict=True)
    )


def is_plain_scalar(node: gs.Node, view: View) -> bool:
    """Say whether `node` is a scalar operator between float32 tensors, none of which is bytes."""
    return (
        is_scalar_operator(node, view)
        and not quantizes_or_back(node)
        and all(view.dtype(tensor) == np.float32 for tensor in (*operands(node), *node.outputs))
    )


def can_broadcast(tensor: gs.Tensor, shape: Shape, view: View) -> bool:
    """Say whether `tensor`, float32, broadcasts to `shape` so that a plain kernel can read it."""
    found = view.shape(tensor)
    if found is None or view.dtype(tensor) != np.float32 or len(found) > len(shape):
        return False
    return all(
        (size == wanted and size is not None) or size == 1
        for size, wanted in zip(found, shape[len(shape) - len(found) :], strict=True)
    )
