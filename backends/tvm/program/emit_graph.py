"""A graph in the blocked layout: groups of nodes as kernels, views, and what TVM imports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import onnx
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import DEQUANTIZE, QUANTIZE, is_dequantizer
from ....ir.ops.traits.groups import LAYERS, MEAN_AND_MAX_POOLS, RESHAPES
from ....passes.shuffle.routes import PICKING_OPS
from ...contract.prepare import typed_view
from ..graph.blocked_tensors import blocked_tensors
from ..graph.channels_last import swap_channels_last
from ..graph.concat import plan_concats
from ..graph.depth_to_space import fold_depth_to_space
from ..graph.groups import CanRead, FusionGroup, can_be_operand, can_broadcast, group_nodes
from ..graph.halos import wanted_halos
from ..graph.quantized import fold_integers
from ..graph.row_grids import fold_row_grids
from ..graph.widened import fold_widened
from ..kernels.settings import Settings
from ..spec.machine import CpuMachine
from ..spec.scalars import SCALARS
from .blocked import BlockedProgram
from .borders import border_of
from .emit_channel_normalization import emit_channel_normalization
from .emit_channels import (
    can_emit_concat,
    can_emit_pool,
    can_emit_scalar,
    emit_concat,
    emit_pool,
    emit_scalar,
)
from .emit_linear import can_emit_linear, emit_linear
from .emit_matmul import can_emit_matmul, emit_matmul
from .emit_moves import moved_bytes
from .emit_onnx import emit_onnx
from .emit_plain import can_emit_plain, emit_plain
from .emit_quantize import can_emit_pad, can_emit_quantize, emit_pad, emit_quantize
from .emit_resize import can_emit_resize, emit_resize
from .emit_rows import emit_rows
from .emit_views import view_of_blocks
from .lowering import GraphEmitter, named
from .program import Enclosing

Can = Callable[[gs.Node, View], bool]
Emit = Callable[[BlockedProgram, FusionGroup], Any]


class KernelEmitter(NamedTuple):
    """Whether a node can be emitted as a kernel of ours, and how."""

    can: Can
    emit: Emit


KERNELS: dict[str, KernelEmitter] = {
    **dict.fromkeys(SCALARS, KernelEmitter(can_emit_scalar, emit_scalar)),
    QUANTIZE: KernelEmitter(can_emit_quantize, emit_quantize),
    "Pad": KernelEmitter(can_emit_pad, emit_pad),
    **dict.fromkeys(LAYERS, KernelEmitter(can_emit_linear, emit_linear)),
    **dict.fromkeys(MEAN_AND_MAX_POOLS, KernelEmitter(can_emit_pool, emit_pool)),
    "Concat": KernelEmitter(can_emit_concat, emit_concat),
    **dict.fromkeys(("Resize", "Upsample"), KernelEmitter(can_emit_resize, emit_resize)),
}
_CHANNELS_LAST = ("Transpose", "LayerNormalization")
_VIEWS = RESHAPES | PICKING_OPS | {DEQUANTIZE, QUANTIZE, "DepthToSpace"}


class BlockedEmitter(GraphEmitter[BlockedProgram]):
    """Writes a prepared graph for a CPU: what has a kernel, with what follows it, in blocks."""

    def __init__(
        self,
        graph: gs.Graph,
        machine: CpuMachine,
        settings: Settings | None = None,
        elsewhere: frozenset[str] = frozenset(),
        enclosing: Enclosing | None = None,
    ) -> None:
        graph, integers = fold_integers(_simplified(fold_widened(graph)))
        view = typed_view(graph)
        halos = wanted_halos(
            graph, view, lambda n: border_of(n, view, machine) if _can(n, view) else None
        )
        program = BlockedProgram(
            view,
            machine,
            settings or Settings(),
            halos=halos,
            concats=plan_concats(graph.nodes, view, machine.lanes, halos, lambda n: _can(n, view)),
            integers=integers,
            elsewhere=elsewhere,
            enclosing=enclosing,
        )
        super().__init__(graph, program)

    def emit_nodes(self) -> None:
        """Emit all groups of nodes."""
        view, protos = self.program.view, self.protos()
        for group in group_nodes(self.graph.nodes, view, _readers(self.graph.nodes, view)):
            with named(group.anchor, *group.followers):
                _emit(self.program, group, protos)


def _simplified(graph: gs.Graph) -> gs.Graph:
    """Return `graph` with what moves elements, and the grids of rows, as kernels have them."""
    return fold_row_grids(swap_channels_last(fold_depth_to_space(graph)), _multiplies_rows)


def _multiplies_rows(node: gs.Node, view: View) -> bool:
    """Say whether `node` is a product that is no layer of channels, which is one of bytes."""
    return can_emit_matmul(node, view) and any((view.rank(t) or 0) > 2 for t in node.inputs)


def _emit(program: BlockedProgram, group: FusionGroup, protos: dict[int, onnx.NodeProto]) -> None:
    nodes = [group.anchor, *group.followers]
    program.nodes = tuple(nodes)
    if not any(map(program.is_elsewhere, nodes)):
        if group.plain:
            nodes = nodes[_emit_plain_group(program, group) :]
        elif _emit_blocked(program, group):
            return
    for each in nodes:
        program.nodes = (each,)
        if not program.is_elsewhere(each) and _emit_plain(program, each):
            continue
        emit_onnx(program, each, protos[id(each)], moved_bytes(program, each))


def _emit_blocked(program: BlockedProgram, group: FusionGroup) -> bool:
    """Emit `group` as a view or a kernel in the blocked layout, and say whether it is one."""
    node = group.anchor
    if is_standard(node) and node.op in _VIEWS and view_of_blocks(program, node):
        return True
    if node.op in _CHANNELS_LAST and emit_channel_normalization(program, node):
        return True
    if not _can(node, program.view):
        return False
    return KERNELS[node.op].emit(program, group) is not False


def _emit_plain_group(program: BlockedProgram, group: FusionGroup) -> int:
    """Emit nodes of `group` for tensors that lie as ONNX has them, and return how many."""
    nodes = [group.anchor, *group.followers]
    count = emit_matmul(program, group)
    first, *others = nodes[count:] or [None]
    if first is None:
        return count
    program.nodes = (first, *others)
    rest = FusionGroup(first, others, plain=True)
    return (
        len(nodes) if can_emit_plain(first, program.view) and emit_plain(program, rest) else count
    )


def _emit_plain(program: BlockedProgram, node: gs.Node) -> bool:
    """Emit what has a kernel for tensors that lie as ONNX has them, and say if so."""
    return emit_rows(program, node) or bool(_emit_plain_group(program, FusionGroup(node)))


def _readers(nodes: Sequence[gs.Node], view: View) -> Callable[[gs.Node], CanRead | None]:
    """Return what says of a node what its kernel may read besides; None where none can follow it.

    What reads dequantized bytes does that itself.
    """
    blocked = blocked_tensors(nodes, view, lambda node: _can(node, view))

    def reads(node: gs.Node) -> CanRead | None:
        in_blocks = any(id(tensor) in blocked for tensor in node.outputs)
        if not in_blocks and (can_emit_plain(node, view) or can_emit_matmul(node, view)):
            return can_broadcast
        return None if is_dequantizer(node) or not _can(node, view) else can_be_operand

    return reads


def _can(node: gs.Node, view: View) -> bool:
    return is_standard(node) and node.op in KERNELS and KERNELS[node.op].can(node, view)
