"""A prepared graph to a Relax program in one layout: channels last, whatever the element type.

Half precision needs it, since tensor cores take matrices whose depth, here the channels, is
innermost. Single precision profits too: a thread reads four channels at once, a warp 128
neighbouring ones, at any stride and any size of image; and nothing is transposed between the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import onnx
import onnx_graphsurgeon as gs

from .....ir.core.variables import is_standard
from .....ir.graph.view import View
from .....ir.ops.traits.groups import LAYERS
from ....contract.prepare import typed_view
from ...program.emit_onnx import emit_onnx
from ...program.lowering import GraphEmitter, named
from ...program.single import single_of
from .channels_last import ChannelsLastProgram
from .emit_channels import (
    can_emit_concat,
    can_emit_flatten,
    can_emit_pool,
    emit_concat,
    emit_flatten,
    emit_pool,
)
from .emit_elementwise import can_emit_elementwise, emit_elementwise
from .emit_linear import can_emit_linear, emit_linear

Can = Callable[[gs.Node, View], bool]
Emit = Callable[[ChannelsLastProgram, gs.Node], None]


class OperatorEmitter(NamedTuple):
    """Whether a node can be emitted in the layout of channels last, and how."""

    can: Can
    emit: Emit


OPERATORS: dict[str, OperatorEmitter] = {
    **dict.fromkeys(LAYERS - {"ConvTranspose"}, OperatorEmitter(can_emit_linear, emit_linear)),
    **dict.fromkeys(("MaxPool", "GlobalAveragePool"), OperatorEmitter(can_emit_pool, emit_pool)),
    "Concat": OperatorEmitter(can_emit_concat, emit_concat),
    "Flatten": OperatorEmitter(can_emit_flatten, emit_flatten),
}


class ChannelsLastEmitter(GraphEmitter[ChannelsLastProgram]):
    """Writes a prepared graph for a GPU, each node on its own: TVM joins kernels later.

    With `inside`, inputs are held as they are between the layers of a network.
    """

    def __init__(
        self, graph: gs.Graph, elsewhere: frozenset[str] = frozenset(), *, inside: bool = False
    ) -> None:
        super().__init__(graph, ChannelsLastProgram(typed_view(graph), elsewhere))
        self._inside = inside

    def emit_nodes(self) -> None:
        """Emit all nodes."""
        protos = self.protos()
        for tensor in self.graph.inputs if self._inside else ():
            self.program.last(tensor)
        for node in self.graph.nodes:
            with named(node):
                _emit(self.program, node, protos[id(node)])


def _emit(program: ChannelsLastProgram, node: gs.Node, proto: onnx.NodeProto) -> None:
    if program.is_elsewhere(node):
        emit_onnx(program, node, proto)
        return
    if is_standard(node) and node.op in OPERATORS:
        can, emit = OPERATORS[node.op]
        if can(node, program.view):
            emit(program, node)
            program.singles.append(single_of(node, program.view))
            return
    if is_standard(node) and can_emit_elementwise(program, node):
        emit_elementwise(program, node, proto)
        return
    emit_onnx(program, node, proto)
