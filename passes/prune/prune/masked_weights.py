"""Weights where nodes read them, bare or below a mask, and masks written there.

    W -> f      becomes      Mul(W, M) -> f

A mask is stored in the smallest shape that broadcasts to its weight: one that takes whole rows is
[M, 1, 1, 1]. A weight has one mask: a second one is the product of both. Where nodes that share a
weight need different masks, all but the first get a copy of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.constant_nodes import dense_value_of_constant_node
from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.masks import mask_name, read_masked
from ....ir.ops.traits import traits_of
from ....ir.ops.traits.groups import LAYERS

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class PrunableWeight:
    """A constant float that `node` reads at `position`, perhaps below a mask.

    `tensor` is what the node reads, `weight` the constant itself. `mask` has the shape of the
    weight, True where it stays. `product` is the node that applies it.
    """

    node: gs.Node
    position: int
    tensor: gs.Tensor
    weight: gs.Constant
    values: Array
    mask: Array | None
    product: gs.Node | None

    @property
    def name(self) -> str:
        """The name of the weight."""
        return str(self.weight.name)

    def stays(self) -> Array:
        """Return the mask [as the weight], all True where there is none."""
        return np.ones(self.values.shape, bool) if self.mask is None else self.mask


def read_weight(node: gs.Node, position: int, view: View) -> PrunableWeight | None:
    """Read the weight at an input of `node`; None where that is no float that is constant."""
    tensor = node.inputs[position]
    weight, values, mask, product = tensor, view.constant(tensor), None, None
    if values is None:
        product = view.producer(tensor)
        masked = None if product is None else read_masked(product)
        if masked is None:
            return None
        weight, values = masked.weight, view.constant(masked.weight)
        mask = view.constant(masked.mask)
        if values is None or mask is None:
            return None
        mask = np.broadcast_to(mask != 0, values.shape)
    if not dtypes.is_float(values.dtype):
        return None
    assert isinstance(weight, gs.Constant)
    return PrunableWeight(
        node=node,
        position=position,
        tensor=tensor,
        weight=weight,
        values=values,
        mask=mask,
        product=product,
    )


def lift_constants(graph: gs.Graph, edit: Edit) -> None:
    """Make initializers of the Constant nodes that layers read: masks stand on such.

    Some exporters write weights so.
    """
    for node in list(graph.nodes):
        if not is_standard(node) or not (
            node.op in LAYERS or traits_of(node, graph.opset).recurrent
        ):
            continue
        for tensor in node.inputs[1:]:
            made_by = edit.uses.producer(tensor)
            if made_by is None or made_by.op != "Constant" or id(tensor) in edit.uses.pinned:
                continue
            if not is_standard(made_by) or edit.uses.scope(made_by) is not graph:
                continue
            values = dense_value_of_constant_node(made_by)
            if values is None:
                continue
            if not edit.begin():
                return
            lifted = edit.constant(values, tensor.name)
            edit.replace(tensor, lifted)
            edit.remove(made_by)
            edit.take_name(lifted, tensor)


def compact(mask: Array) -> Array:
    """Return the smallest array that broadcasts to `mask`, of the same rank."""
    for axis, size in enumerate(mask.shape):
        first = mask.take([0], axis) if size else mask
        if size > 1 and bool((mask == first).all()):
            mask = first
    return mask


def write_masks(edit: Edit, wanted: Sequence[tuple[PrunableWeight, Array]]) -> None:
    """Put masks, True where a weight stays, below weights; one edit for each that is new.

    What is masked already stays so. Stops where the limit of edits is used up.
    """
    by_tensor: dict[int, list[tuple[PrunableWeight, Array]]] = {}
    for prunable, mask in wanted:
        by_tensor.setdefault(id(prunable.tensor), []).append((prunable, mask & prunable.stays()))
    for pairs in by_tensor.values():
        alike: dict[bytes, list[tuple[PrunableWeight, Array]]] = {}
        for prunable, mask in pairs:
            alike.setdefault(np.packbits(mask).tobytes(), []).append((prunable, mask))
        first = True
        for group in alike.values():
            mask = group[0][1]
            if bool((mask == group[0][0].stays()).all()):
                continue
            if not edit.begin():
                return
            _write(edit, [prunable for prunable, _ in group], mask, own=first)
            first = False


def _write(edit: Edit, group: Sequence[PrunableWeight], mask: Array, *, own: bool) -> None:
    """Put one mask below `group`, which reads one tensor; `own`: none was put below it yet."""
    first = group[0]
    values = compact(mask).astype(first.values.dtype)
    if first.product is not None and own and edit.uses.reads(first.tensor) == len(group):
        _replace_mask(edit, first, values)
        return
    weight = first.weight
    if not own or first.product is not None:
        weight = edit.constant(first.values, first.name)
    stored = edit.constant(values, mask_name(weight.name))
    like = TensorType(first.values.dtype, first.values.shape)
    product = edit.variable(f"{weight.name}_masked", like)
    edit.node("Mul", [weight, stored], [product], at=first.node)
    for each in group:
        edit.set_input(each.node, each.position, product)


def _replace_mask(edit: Edit, prunable: PrunableWeight, values: Array) -> None:
    node = prunable.product
    assert node is not None
    masked = read_masked(node)
    assert masked is not None
    old = masked.mask
    made = edit.constant(values, mask_name(prunable.name))
    edit.set_input(node, next(i for i, t in enumerate(node.inputs) if t is old), made)
    if not edit.uses.reads(old) and id(old) not in edit.uses.pinned:
        edit.take_name(made, old)
