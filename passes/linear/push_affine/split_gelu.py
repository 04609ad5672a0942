"""The 0.5 of a GELU, taken into the layers after it.

    W * Gelu(x) = (W / 2) * (x (1 + erf(x / sqrt(2))))      and likewise with tanh

A power of two loses no digits in a weight. What is left of the GELU is written out, one node
shorter; it is infinite for x beyond half of the largest float.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.variables import FUSED_DOMAIN
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.fused.bodies import doubled_gelu
from ....ir.ops.linear.affine import Affine, composed
from ...engine.rewrite import Rewrite
from ..shared_weights import SharedWeights
from .absorb import AbsorbedAffine, plan, write
from .linear_readers import is_read_by_linear, read_linear_readers
from .map_room import MapRoom

_NO_ROOM = MapRoom(0, 0.0)  # a factor leaves no map


@dataclass(frozen=True)
class SplitGelu(Rewrite[AbsorbedAffine]):
    """Write twice the GELU, in nodes, where layers take in the half."""

    shared: SharedWeights

    ops = frozenset({"Gelu", "GeluTanh"})

    def match(self, node: gs.Node, view: View) -> AbsorbedAffine | None:
        """Return how the layers take in the half; the operator of opset 20 is one node already."""
        result = node.outputs[0]
        if node.domain != FUSED_DOMAIN or not is_read_by_linear(result, view):
            return None
        need(view.dtype(result) == np.float32, "the constants of its body are float32")
        found = read_linear_readers(result, view)
        for each in found.readers:
            self.shared.need_room(each.layer, view)
        half = Affine(node, node.inputs[0], np.array(0.5), np.array(0.0))
        total = composed([half], found.rank, found.axis, found.channels)
        return plan([half], total, found, _NO_ROOM, view)

    def rewrite(self, site: AbsorbedAffine, edit: Edit) -> None:
        """Write the nodes of twice the GELU, and the layers with half of their weights."""
        (half,) = site.chain
        twice = edit.variable(f"{half.result.name}_twice", site.type)
        write(replace(site, chain=(replace(half, source=twice),)), edit)
        _write_twice(half, twice, site.type, edit)


def _write_twice(half: Affine, twice: gs.Tensor, kind: TensorType | None, edit: Edit) -> None:
    call = half.node
    named: dict[str | float, gs.Tensor] = {"X": half.source, "Y": twice}
    for op, operands, result in doubled_gelu(call.op):
        for operand in operands:
            if isinstance(operand, float) and operand not in named:
                named[operand] = edit.constant(np.array(operand, np.float32), f"{twice.name}_c")
        if result not in named:
            named[result] = edit.variable(f"{twice.name}_{result}", kind)
        edit.node(op, [named[each] for each in operands], [named[result]], at=call)
