"""A graph in the blocked layout: groups of nodes as kernels, views, and what TVM imports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import onnx
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import DEQUANTIZE, QUANTIZE, is_dequantizer
from ....ir.ops.traits.groups import LAYERS, MEAN_AND_MAX_POOLS, RESHAPES
from ....passes.shuffle.routes import PICKING_OPS
from ...contract.prepare import typed_view
from ..graph.concat import plan_concats
from ..graph.groups import FusionGroup, group_nodes
from ..graph.halos import wanted_halos
from ..graph.quantized import fold_integers
from ..kernels.settings import Settings
from ..spec.machine import CpuMachine
from ..spec.scalars import SCALARS
from .blocked import BlockedProgram
from .emit_channels import (
    can_emit_concat,
    can_emit_pool,
    can_emit_scalar,
    emit_concat,
    emit_pool,
    emit_scalar,
)
from .emit_linear import can_emit_linear, columns_beyond, emit_linear
from .emit_matmul import emit_matmul
from .emit_moves import moved_bytes
from .emit_onnx import emit_onnx
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
_VIEWS = RESHAPES | PICKING_OPS | {DEQUANTIZE, QUANTIZE}


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
        graph, integers = fold_integers(graph)
        view = typed_view(graph)
        halos = wanted_halos(
            graph,
            view,
            lambda node: _can(node, view),
            lambda node: columns_beyond(node, view, machine),
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
        for group in group_nodes(self.graph.nodes, view, lambda node: _can_anchor(node, view)):
            with named(group.anchor, *group.followers):
                _emit(self.program, group, protos)


def _emit(program: BlockedProgram, group: FusionGroup, protos: dict[int, onnx.NodeProto]) -> None:
    node, view = group.anchor, program.view
    nodes = (node, *group.followers)
    program.nodes = nodes
    if not any(map(program.is_elsewhere, nodes)):
        if is_standard(node) and node.op in _VIEWS and view_of_blocks(program, node):
            return
        if _can(node, view) and KERNELS[node.op].emit(program, group) is not False:
            return
    for each in nodes:
        if not program.is_elsewhere(each) and _emit_plain(program, each):
            continue
        emit_onnx(program, each, protos[id(each)], moved_bytes(program, each))


def _emit_plain(program: BlockedProgram, node: gs.Node) -> bool:
    """Emit what has a kernel for tensors that lie as ONNX has them, and say if so."""
    return emit_rows(program, node) or emit_matmul(program, node)


def _can(node: gs.Node, view: View) -> bool:
    return is_standard(node) and node.op in KERNELS and KERNELS[node.op].can(node, view)


def _can_anchor(node: gs.Node, view: View) -> bool:
    """Say whether others can follow `node`; what reads dequantized bytes does that itself."""
    return not is_dequantizer(node) and _can(node, view)
