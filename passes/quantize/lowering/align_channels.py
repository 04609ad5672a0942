"""Give a convolution channels in multiples of four, which integer kernels take in one step.

    Conv(x, W) = Conv(Pad(x, zeros), [W, 0]) = Slice(Conv(x, [W; 0]), channels of W)

Instructions for 8-bit integers multiply and add four channels at a time (VPDPBUSD, SDOT). Where the
channels are no such multiple, ONNX Runtime copies every window first, and computes the outputs
beside the last full block on their own. With AVX-512 VNNI on one thread: 3 -> 32 channels, 3x3,
stride 2 on 224 x 224 takes 1372 us, 4 -> 32 takes 611 (Pad: 73); 58 -> 58, 1x1 on 28 x 28 takes
149 us, 60 -> 60 takes 48. In float the same would only add work.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, VPDPBUSD.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.bounds import require_within
from ....ir.core.decline import need
from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.build import build, build_slice
from ....ir.ops.linear.operators import bias_of, is_absent_bias
from ....ir.ops.opsets import takes_type
from ...engine.rewrite import Rewrite, RewritePass
from ..qdq.units import BOUNDING

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class AlignChannels(RewritePass):
    """Pad the channels that convolutions make, or read from graph inputs, to a multiple.

    Left alone are grouped convolutions, and those that make few positions.

    - `multiple`: what the numbers of channels become a multiple of.
    - `fewest`: a convolution that makes fewer positions than this is left alone: starting two more
      operators costs more than it gains.
    """

    name: ClassVar[str] = "align-channels"
    multiple: int = 4
    fewest: int = 256

    def __post_init__(self) -> None:
        """Check that there are multiples."""
        require_within("multiple", self.multiple, 1)

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_AlignConv(self.multiple, self.fewest),)


@dataclass(frozen=True, kw_only=True)
class _UnalignedConv:
    node: gs.Node
    bound: gs.Node | None  # the Relu or Clip behind it
    inputs: int  # channels to add
    outputs: int
    weight: Array
    bias: Array | None


@dataclass(frozen=True)
class _AlignConv(Rewrite[_UnalignedConv]):
    ops = frozenset({"Conv"})
    multiple: int
    fewest: int

    def match(self, node: gs.Node, view: View) -> _UnalignedConv | None:
        weight = view.constant(node.inputs[1])
        if weight is None or weight.ndim < 3 or node.attrs.get("group", 1) != 1:
            return None
        outputs, inputs = (-size % self.multiple for size in weight.shape[:2])
        if inputs and view.producer(node.inputs[0]) is not None:
            inputs = 0  # ONNX Runtime has no Pad of integers: it would take a detour to floats
        if not inputs and not outputs:
            return None
        takes_bytes = takes_type("Pad", np.uint8, view.opset)
        need(takes_bytes, "Pad and Slice take types other than float from opset 11 on")
        need(weight.dtype == np.float32, f"its weight is {weight.dtype}")
        given, bias = bias_of(node), None
        if given is not None:
            bias = need(view.constant(given), "its bias is not constant")
            bias = None if is_absent_bias(node, bias) else bias
        made = need(view.shape(node.outputs[0]), "the shape of its result is unknown")
        # A size that is not known is taken for a large one.
        positions = math.prod(s for s in made[2:] if isinstance(s, int))
        known = all(isinstance(s, int) for s in made[2:])
        need(not known or positions >= self.fewest, f"it makes only {positions} positions")
        return _UnalignedConv(
            node=node,
            bound=_bound(node, view),
            inputs=inputs,
            outputs=outputs,
            weight=weight,
            bias=bias,
        )

    def rewrite(self, site: _UnalignedConv, edit: Edit) -> None:
        node = site.node
        rest = [(0, 0)] * (site.weight.ndim - 2)
        x: gs.Tensor = node.inputs[0]
        if site.inputs:
            x = _pad(x, site, edit)
        weight = np.pad(site.weight, [(0, site.outputs), (0, site.inputs), *rest])
        inputs = [x, edit.constant(weight, f"{node.inputs[1].name}_aligned")]
        if site.bias is not None:
            bias = np.pad(site.bias, (0, site.outputs))
            inputs.append(edit.constant(bias, f"{node.inputs[2].name}_aligned"))
        chain = [node] if site.bound is None else [node, site.bound]
        for part in reversed(chain):
            edit.remove(part)
        for part in chain:
            result = part.outputs[0]
            if site.outputs:
                kind = TensorType(site.weight.dtype, None)
                result = edit.variable(f"{result.name}_aligned", kind)
            elif part is not chain[-1]:
                result = node.outputs[0]
            edit.node(part.op, inputs, [result], dict(part.attrs), at=part)
            inputs = [result, *(site.bound.inputs[1:] if site.bound is not None else ())]
        if site.outputs:
            kept = {1: (0, len(site.weight), 1)}
            build_slice(edit, result, chain[-1].outputs[0], kept, at=node)


def _pad(x: gs.Tensor, site: _UnalignedConv, edit: Edit) -> gs.Variable:
    pads = np.zeros((2, site.weight.ndim), np.int64)
    pads[1, 1] = site.inputs
    padded = edit.variable(f"{x.name}_aligned", TensorType(site.weight.dtype, None))
    build(edit, "Pad", [x], [padded], {"pads": pads.reshape(-1)}, at=site.node)
    return padded


def _bound(node: gs.Node, view: View) -> gs.Node | None:
    """Return the Relu or Clip that alone reads the result, and saturates with the integers."""
    reader = view.only_reader(node.outputs[0])
    if reader is None or reader.op not in BOUNDING or not is_standard(reader):
        return None
    return reader if reader.inputs[0] is node.outputs[0] else None
