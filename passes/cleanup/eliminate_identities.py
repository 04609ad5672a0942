"""Remove operators that return their input.

f(x) = x   for Identity; x + 0, x - 0, x * 1, x / 1; Cast to its own type; Transpose by the
           identity; Reshape, Flatten, Expand and Slice to its own shape; Pad by nothing;
           Dropout at inference; Clip of integers without bounds; Concat, Sum, Max, Min, Mean of one
W x + 0 = W x   for the bias of Conv, ConvTranspose and Gemm
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir import dtypes
from ...ir.edit import Edit
from ...ir.variables import is_standard
from ...ir.view import View
from ..contract import Rewrite, RewritePass, need


@dataclass(frozen=True)
class EliminateIdentities(RewritePass):
    """Remove operators that return their input unchanged.

    Left alone where it joins a graph input or constant directly to a graph output, since both
    names must stay.
    """

    name: ClassVar[str] = "eliminate-identities"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites for whole operators and for zero biases."""
        return (_Bypass(), _DropZeroBias())


@dataclass(frozen=True)
class _Site:
    node: gs.Node
    kept: gs.Tensor
    producer: gs.Node | None  # set where the node's output is a graph output


class _Bypass(Rewrite[_Site]):
    ops = frozenset(
        {
            "Identity",
            "Dropout",
            "Cast",
            "CastLike",
            "Transpose",
            "Reshape",
            "Flatten",
            "Expand",
            "Slice",
            "Pad",
            "Clip",
            "Concat",
            "Sum",
            "Max",
            "Min",
            "Mean",
            "Add",
            "Sub",
            "Mul",
            "Div",
        }
    )

    def match(self, node: gs.Node, view: View) -> _Site | None:
        kept = _returned_input(node, view)
        if kept is None:
            return None
        result = node.outputs[0]
        if not view.is_output(result):
            return _Site(node, kept, None)
        producer = need(view.producer(kept), "it joins a graph input or constant to a graph output")
        need(not view.is_output(kept), "its input and its output are both graph outputs")
        return _Site(node, kept, producer)

    def rewrite(self, site: _Site, edit: Edit) -> None:
        result = site.node.outputs[0]
        edit.remove(site.node)
        if site.producer is None:
            edit.replace(result, site.kept)
        else:
            edit.rename_output(site.producer, site.kept, result)


class _DropZeroBias(Rewrite[gs.Node]):
    """Leave a zero bias out, whatever its shape: PyTorch's exporter gives Conv3d one of [M, N].

    The input goes, not only its name: ONNX Runtime lays a convolution out in blocks (NCHWc) only
    where there is no empty third input, and a network of 3x3 convolutions is twice as fast then.
    """

    ops = frozenset({"Conv", "ConvTranspose", "Gemm"})

    def match(self, node: gs.Node, view: View) -> gs.Node | None:
        if not is_standard(node) or len(node.inputs) < 3 or node.inputs[2].is_empty():
            return None
        if node.op == "Gemm" and view.opset < 11:
            return None  # the bias was not optional then
        bias = view.constant(node.inputs[2])
        return None if bias is None or bias.any() else node

    def rewrite(self, site: gs.Node, edit: Edit) -> None:
        edit.remove(site)
        edit.node(site.op, site.inputs[:2], site.outputs, site.attrs, at=site, domain=site.domain)


def _returned_input(node: gs.Node, view: View) -> gs.Tensor | None:
    """Return the input that `node` returns unchanged, or None."""
    if not node.inputs:
        return None
    x, y = node.inputs[0], node.outputs[0]
    match node.op:
        case "Identity":
            holds = True
        case "Concat" | "Sum" | "Max" | "Min" | "Mean":
            holds = len(node.inputs) == 1
        case "Dropout":
            holds = _is_inference(node, view)
        case "Cast":
            dtype = view.dtype(x)
            holds = dtype is not None and dtypes.elem_type(dtype) == node.attrs.get("to")
        case "CastLike":
            holds = view.dtype(x) is not None and view.dtype(x) == view.dtype(node.inputs[1])
        case "Transpose":
            perm = node.attrs.get("perm")
            if isinstance(perm, list):
                holds = perm == list(range(len(perm)))
            else:  # absent, or an empty list, which is held as an AttributeProto
                rank = view.rank(x)
                holds = rank is not None and rank < 2
        case "Flatten":
            holds = view.rank(x) == 2 and node.attrs.get("axis", 1) in (1, -1)
        case "Reshape" | "Expand":
            holds = view.same_shape(x, y)
        case "Slice":
            steps = _optional(node, 4, view)
            holds = view.same_shape(x, y) and (steps is None or bool(np.all(steps == 1)))
        case "Pad":
            pads = node.attrs.get("pads") or _optional(node, 1, view)
            holds = pads is not None and not np.any(pads)
        case "Clip":
            bounded = {"min", "max"} & node.attrs.keys()
            holds = not bounded and all(t.is_empty() for t in node.inputs[1:])
            # Of floats, it turns infinity into the largest finite number.
            dtype = view.dtype(x)
            holds = holds and dtype is not None and dtype.kind in "iu"
        case _:
            return _non_neutral(node, view)
    return x if holds else None


def _is_inference(node: gs.Node, view: View) -> bool:
    if len(node.outputs) > 1:
        mask = node.outputs[1]
        need(not view.readers(mask) and not view.is_output(mask), "its mask is read")
    if view.opset < 7:
        return bool(need(node.attrs.get("is_test", 0) != 0, "it is in training mode"))
    if len(node.inputs) > 2 and not node.inputs[2].is_empty():
        mode = need(view.constant(node.inputs[2]), "its training mode is not constant")
        need(not mode.any(), "it is in training mode")
    return True


def _non_neutral(node: gs.Node, view: View) -> gs.Tensor | None:
    """Return the operand that is left of x + 0, 0 + x, x - 0, x * 1, 1 * x or x / 1."""
    if view.opset < 7:
        return None  # broadcasting was an attribute then
    neutral = 0 if node.op in ("Add", "Sub") else 1
    orders = ((0, 1), (1, 0)) if node.op in ("Add", "Mul") else ((0, 1),)
    for kept, other in orders:
        values = view.constant(node.inputs[other])
        if values is None or values.dtype.kind == "O" or not np.all(values == neutral):
            continue
        shape = view.shape(node.inputs[kept])
        if shape is not None and _keeps_shape(shape, values.shape):
            return node.inputs[kept]
    return None


def _keeps_shape(shape: Sequence[int | str | None], other: Sequence[int]) -> bool:
    """Say whether broadcasting a tensor of `shape` with one of shape `other` leaves it as it is."""
    if len(other) > len(shape):
        return False
    tail = shape[len(shape) - len(other) :]
    return all(size in (1, dim) for size, dim in zip(other, tail, strict=True))


def _optional(node: gs.Node, index: int, view: View) -> np.ndarray[Any, Any] | None:
    """Return the constant at input `index`; an absent one is None, one unknown declines."""
    if len(node.inputs) <= index or node.inputs[index].is_empty():
        return None
    return need(view.constant(node.inputs[index]), f"its input {index} is not constant")
