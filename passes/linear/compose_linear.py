"""Compose two linear operators, one behind the other, into one where that multiplies less.

    W2 * (W1 * x + b1) + b2 = (W2 W1) * x + (W2 b1 + b2)

One of the two must read one position: a 1x1 convolution, a Gemm or a MatMul. A kernel of k taps
before a 1x1 of stride s becomes one with its own window and s times its strides; a 1x1 before it
leaves the window as it is, and pads alike, since zeros stay zeros without b1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.core.variables import is_standard
from ...ir.graph.edit import Edit
from ...ir.graph.types import TensorType
from ...ir.graph.view import View
from ...ir.ops.linear.conditioning import need_conditioned
from ...ir.ops.linear.kernel import Kernel, compose
from ...ir.ops.linear.layer import Layer, read_layer, read_with_bias, write_layer
from ...ir.ops.linear.operators import reads_transposed
from ...ir.ops.linear.storing import need_storable
from ...ir.ops.traits.groups import LAYERS
from ...ir.ops.windows.attributes import explicit_window, read_window
from ..engine.rewrite import Rewrite, RewritePass


@dataclass(frozen=True)
class ComposeLinear(RewritePass):
    """Compose Conv, ConvTranspose, Gemm and MatMul with the one before into one operator.

    Only where it multiplies less often than the two and its weights are not larger than theirs and
    what lay between; the first must be read by the second alone. Groups are joined where that pays.
    """

    name: ClassVar[str] = "compose-linear"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_Compose(),)


@dataclass(frozen=True, kw_only=True)
class _Composition:
    first: Layer
    second: Layer
    keeps: Layer  # the one whose operator and window stay
    kernel: Kernel
    attrs: dict[str, Any] | None  # None: those that it has
    type: TensorType | None


class _Compose(Rewrite[_Composition]):
    ops = LAYERS

    def match(self, node: gs.Node, view: View) -> _Composition | None:
        below = view.producer(node.inputs[0])
        if below is None or not is_standard(below) or not _may_be_linear(below, view):
            return None
        second = read_with_bias(node, view)
        first = read_layer(below, view)
        need(view.read_only_by(first.result, node), f"the result of {first.op} has other readers")
        need(first.is_spatial == second.is_spatial, "one is a convolution, the other is none")
        keeps, attrs = _window(first, second, view)
        group = math.gcd(first.group, second.group)
        _need_less(first, second, keeps, group, view)
        kernel = _composed(first, second, group)
        need_storable(kernel, keeps.weight.dtype)
        return _Composition(
            first=first,
            second=second,
            keeps=keeps,
            kernel=kernel,
            attrs=attrs,
            type=view.type(second.result),
        )

    def rewrite(self, site: _Composition, edit: Edit) -> None:
        result = site.second.result
        for node in (*site.second.nodes, *site.first.nodes):
            edit.remove(node)
        write_layer(
            edit,
            site.keeps,
            site.kernel,
            source=site.first.source,
            result=result,
            attrs=site.attrs,
            like=site.type,
        )


def _composed(first: Layer, second: Layer, group: int) -> Kernel:
    """Return the kernel of both; declines where the bias between them is too large to be moved."""
    before, after = first.kernel(), second.kernel()
    kernel = compose(after, before, group)
    if before.bias is not None:
        left = kernel.full_bias()
        need_conditioned(after.largest_of(before.bias), left, first.weight.dtype)
    return kernel


def _may_be_linear(node: gs.Node, view: View) -> bool:
    """Take a quick look that reads no constants."""
    if node.op != "Add":
        return node.op in LAYERS
    below = [view.producer(tensor) for tensor in node.inputs]
    return any(map(view.is_constant, node.inputs)) and any(n and n.op == "MatMul" for n in below)


def _window(first: Layer, second: Layer, view: View) -> tuple[Layer, dict[str, Any] | None]:
    """Return the layer whose operator and window the composed one has, and what it then says."""
    if not first.is_spatial:
        need(not reads_transposed(second.node), "the second transposes its input")
        return first, None
    if _is_point(second, view):
        strides = read_window(second.node, view).strides
        if all(stride == 1 for stride in strides):
            return first, None
        need(first.op == "Conv", "a ConvTranspose is followed by strides")
        attrs = explicit_window(first.node, view)
        pairs = zip(attrs["strides"], strides, strict=True)
        attrs["strides"] = [before * after for before, after in pairs]
        return first, attrs
    need(_is_point(first, view), f"neither {first.op} nor {second.op} is a 1x1 without pads")
    strides = read_window(first.node, view).strides
    need(all(stride == 1 for stride in strides), "the first has strides, the second a window")
    if first.bias is not None and first.bias.any():
        need(second.op == "Conv", "the first's bias reaches a border of ConvTranspose unevenly")
        need(
            not read_window(second.node, view).is_padded,
            "the first's bias is missing in the pads of the second",
        )
    return second, None


def _is_point(layer: Layer, view: View) -> bool:
    if layer.op != "Conv" or math.prod(layer.weight.shape[2:]) != 1:
        return False
    return not read_window(layer.node, view).is_padded


def _need_less(first: Layer, second: Layer, keeps: Layer, group: int, view: View) -> None:
    """Decline unless the composed layer multiplies less and moves no more bytes.

    Multiplications are counted for one output of the composed layer where it is a Conv, for one
    input where it is a ConvTranspose. Where sizes are not known, borders are left out of account.
    """
    taps = math.prod(keeps.weight.shape[2:])  # of a matrix 1
    weights = first.inputs * second.outputs * taps // group
    between = _positions(first.result, first, view)
    if keeps.op == "ConvTranspose":
        early, late = 1.0, 1.0
        if keeps is first:
            late = _ratio(first.result, first.source, first, view)
    else:
        early, late = _ratio(first.result, second.result, second, view), 1.0
    apart = early * first.weight.size + late * second.weight.size
    need(
        weights < apart,
        f"one operator would multiply {weights} times at each position, the two {apart:.0f} times",
    )
    moved = first.weight.size + second.weight.size + 2 * first.outputs * (between or 1)
    need(weights <= moved, "the weights would be larger than both and what lies between")


def _ratio(many: gs.Tensor, few: gs.Tensor, layer: Layer, view: View) -> float:
    """Return how many positions `many` has for each of `few`, which `layer` strides over."""
    above, below = _positions(many, layer, view), _positions(few, layer, view)
    if above is not None and below:
        return above / below
    return float(math.prod(layer.node.attrs.get("strides") or [1]))


def _positions(tensor: gs.Tensor, layer: Layer, view: View) -> int | None:
    """Return the number of spatial positions, 1 for a matrix; None where it is not known."""
    if not layer.is_spatial:
        return 1
    shape = view.shape(tensor)
    sizes = [size for size in (shape or ())[2:] if isinstance(size, int)]
    return math.prod(sizes) if shape is not None and len(sizes) == len(shape) - 2 else None
