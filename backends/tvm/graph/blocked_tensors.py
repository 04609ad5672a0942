"""Which tensors will lie in blocks of channels: what kernels of the blocked layout write.

A layer's result is; an element-wise operator's is where one of its operands is, and so is a
concatenation's and what only views it. What begins as ONNX has it, such as the rows of a
transformer, stays so: into blocks and back would be two copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import quantizes_or_back
from ....ir.ops.traits.groups import RESHAPES
from ....passes.shuffle.routes import PICKING_OPS
from ..spec.scalars import SCALARS

# What hands on the blocks that it is given, if it is any.
_FOLLOWS = frozenset({*SCALARS, *PICKING_OPS, "Concat"})


def blocked_tensors(
    nodes: Sequence[gs.Node], view: View, can: Callable[[gs.Node], bool]
) -> set[int]:
    """Return the ids of tensors of sorted `nodes` in blocks; `can`: a kernel can be emitted."""
    found: set[int] = set()
    for node in nodes:
        if not is_standard(node):
            continue
        given = any(id(tensor) in found for tensor in node.inputs)
        if quantizes_or_back(node):
            blocked = given or can(node)
        elif node.op in RESHAPES:  # one position, without its axes
            blocked = given and view.rank(node.outputs[0]) == 2
        elif node.op in _FOLLOWS:
            blocked = given
        else:
            blocked = can(node)
        if blocked:
            found.update(map(id, node.outputs))
    return found
