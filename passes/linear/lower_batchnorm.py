"""Compute a BatchNormalization that nothing takes in by what is left of it, where that pays.

    BN(x) = s * x + t    with  s = scale / sqrt(var + epsilon),  t = bias - mean * s   (a channel)

(Ioffe and Szegedy, "Batch Normalization", ICML 2015, section 3.1.) With s = 1 it is an Add, with
t = 0 a Mul. Between convolutions it is a depthwise 1x1 convolution: ONNX Runtime (1.31 and 1.32)
keeps images in blocks of channels (NCHWc) from convolution to convolution, takes a convolution's
activation in, and leaves the blocks for an Add with a constant. On two AVX-512 cores and 1.31,
DenseNet-121 with its 62 remaining normalizations runs at 0.86 times the speed with Mul and Add
(pre-activation ResNet-50, 17 of them: 0.89), and at 1.0 with depthwise convolutions, which is what
ONNX Runtime turns a BatchNormalization into by itself.

Anywhere else it stays as it is. ONNX Runtime 1.32 (AVX2, one thread, float32, Relu before and
behind) needs these microseconds, its kernel reading and writing the tensor once:

    shape            BatchNormalization   Mul and Add   depthwise
    [1, 64, 56, 56]                  87           114         128
    [1, 512, 14, 14]                 51            78          75
    [1, 2048, 8, 8]                  67           131         101
    [196, 384]                       43            64
    [16, 384, 196]                 1081          1259        1475
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.decline import need
from ...ir.core.variables import FUSED_DOMAIN, is_standard
from ...ir.graph.edit import Edit
from ...ir.graph.view import View
from ...ir.ops.fused.activations import ACTIVATION_OPS, find_activation
from ...ir.ops.fused.operators import Fused, fused_parts
from ...ir.ops.linear.affine import Array, Composition, need_zeros_kept, read_affine
from ...ir.ops.linear.operators import linear_operator
from ...ir.ops.linear.storing import need_kept, stored
from ...ir.ops.opsets import aligns
from ...ir.ops.windows.elements import has_elements
from ..engine.rewrite import Rewrite, RewritePass

Form = Literal["auto", "mul-add", "depthwise"]

# These keep ONNX Runtime's blocks of channels, a list of its own.
_BLOCKED = frozenset({"Concat", "Add", "Sum", "Relu", "Sigmoid", "Tanh", "Clip", "Mul"})
# These make them.
_BLOCKING = frozenset({"Conv", "MaxPool", "AveragePool"})
_MOST_STEPS = 8


@dataclass(frozen=True)
class LowerBatchnorm(RewritePass):
    """Turn a BatchNormalization that is left into a depthwise 1x1 convolution, a Mul or an Add.

    To be run after the passes that fold normalization away.

    - `form`: `auto` takes the convolution where the values come from one, Mul or Add where one of
      them is all, and leaves others alone; `mul-add` and `depthwise` take that form everywhere.
    """

    name: ClassVar[str] = "lower-batchnorm"

    form: Form = "auto"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_LowerToAffine(self.form),)


@dataclass(frozen=True)
class _ScaleAndShift:
    node: gs.Node
    scale: Array  # [C], in the type of the input
    shift: Array
    rank: int
    depthwise: bool


class _LowerToAffine(Rewrite[_ScaleAndShift]):
    ops = frozenset({"BatchNormalization"})

    def __init__(self, form: Form) -> None:
        self._form = form

    def match(self, node: gs.Node, view: View) -> _ScaleAndShift | None:
        found = read_affine(node, view)
        if found is None:
            return None
        need_zeros_kept((found,), view)
        need(aligns("Mul", view.opset), "Mul and Add broadcast only from opset 7 on")
        x = node.inputs[0]
        dtype = need(view.dtype(x), "the type of its input is unknown")
        rank = need(view.rank(x), "the rank of its input is unknown")
        need(rank >= 2, "its input has no axis of channels")
        if dtypes.is_half(dtype):
            total = Composition.of(np.zeros_like(found.shift))
            total.then(found.scale, found.shift, found.typical).need_movable(dtype)
        reason = "its scale is not finite (variance + epsilon near zero?)"
        need_kept(found.scale, dtype, what=reason)
        need_kept(found.shift, dtype, np.abs(found.scale), reason)
        scale, shift = stored(found.scale, dtype), stored(found.shift, dtype)
        depthwise = self._is_depthwise(node, rank, dtype, view)
        alone = not shift.any() or bool((scale == 1).all())
        need(
            depthwise or alone or self._form == "mul-add",
            "nothing takes it in, and as one operator it is faster than as two",
        )
        return _ScaleAndShift(node, scale, shift, rank, depthwise)

    def _is_depthwise(self, node: gs.Node, rank: int, dtype: np.dtype[Any], view: View) -> bool:
        x = node.inputs[0]
        if self._form == "auto":
            blocked = rank == 4 and dtype == np.float32 and _is_blocked(x, view)
            return blocked and has_elements(x, view)
        if self._form == "depthwise":
            need(rank > 2, "a convolution needs spatial axes")
            need(has_elements(x, view), "its input may be empty, which a convolution refuses")
            return True
        return False

    def rewrite(self, site: _ScaleAndShift, edit: Edit) -> None:
        node, name = site.node, site.node.inputs[1].name
        x, result = node.inputs[0], node.outputs[0]
        edit.remove(node)
        channels, spatial = len(site.scale), [1] * (site.rank - 2)
        if site.depthwise:
            weight = edit.constant(site.scale.reshape(channels, 1, *spatial), f"{name}_weight")
            bias = edit.constant(site.shift, f"{name}_bias")
            attrs = {"group": channels, "kernel_shape": spatial}
            edit.node("Conv", [x, weight, bias], [result], attrs, at=node)
            return
        if bool((site.scale != 1).any()) or not site.shift.any():
            scale = edit.constant(site.scale.reshape(channels, *spatial), f"{name}_scale")
            scaled = result if not site.shift.any() else edit.variable(f"{result.name}_scaled")
            edit.node("Mul", [x, scale], [scaled], at=node)
            x = scaled
        if site.shift.any():
            shift = edit.constant(site.shift.reshape(channels, *spatial), f"{name}_shift")
            edit.node("Add", [x, shift], [result], at=node)


def _activates_conv(node: gs.Node, view: View) -> bool:
    """Say whether `node` is an activation that a convolution takes in, as it may have already."""
    if node.op == "Mul" or node.op not in ACTIVATION_OPS:
        return False
    found = find_activation(node, view)
    producer = None if found is None else view.producer(found.x)
    return producer is not None and linear_operator(producer) == "Conv"


def _is_blocked(tensor: gs.Tensor, view: View) -> bool:
    """Say whether `tensor` comes from convolutions or pools alone, as a few producers show."""
    waiting = [tensor]
    for _ in range(_MOST_STEPS):
        if not waiting:
            return True
        node = view.producer(waiting.pop(0))
        if node is None:
            return False
        fused = fused_parts(node, view.opset)
        if fused is not None and (fused.residual or fused.pool is not None):
            if not _keeps_blocks_fused(fused):
                return False
            waiting += _summed(node, fused)
            continue
        if linear_operator(node) == "Conv" or (is_standard(node) and node.op in _BLOCKING):
            continue
        if _activates_conv(node, view):
            continue
        if not _keeps_blocks(node):
            return False
        waiting += [t for t in node.inputs if view.producer(t) is not None] or node.inputs[:1]
    return True


def _keeps_blocks_fused(fused: Fused) -> bool:
    """Say whether a fused operator gives blocks, by the operators that it was fused from."""
    if fused.pool is not None:
        return fused.pool.op in _BLOCKING
    steps = () if fused.activation is None else fused.activation.steps
    return fused.linear.op == "Conv" and all(step.op in _BLOCKED for step in steps)


def _summed(node: gs.Node, fused: Fused) -> list[gs.Tensor]:
    """Return what the convolution of a fused `node` is added to, if its result shows."""
    first = len(fused.linear.inputs)
    return list(node.inputs[first : first + 1]) if fused.residual and fused.pool is None else []


def _keeps_blocks(node: gs.Node) -> bool:
    """Say whether ONNX Runtime computes `node` on blocks; Silu is written as Sigmoid and Mul."""
    if node.domain == FUSED_DOMAIN:
        return str(node.op) == "Silu"
    return is_standard(node) and node.op in _BLOCKED
