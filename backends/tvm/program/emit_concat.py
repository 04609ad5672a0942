"""A concatenation whose parts lie, or are copied, where they belong: ranges of one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs

from ..graph.concat import ConcatBuffer, ConcatPlacement
from ..kernels.elementwise import Elementwise, elementwise
from ..spec.chain import ElementwiseChain
from ..spec.layout import Layout
from .blocked import BlockedProgram
from .kernel_program import KernelMaker
from .value import Value, batch_of


def emit_placed_concat(
    program: BlockedProgram, node: gs.Node, buffer: ConcatBuffer, parts: Sequence[Value]
) -> bool:
    """Define the result of `node` as blocks of `buffer`; False where a part's blocks do not fit.

    Parts that lie elsewhere are copied first.
    """
    layouts = [part.layout for part in parts if part.layout is not None]
    if [len(layout.blocks) for layout in layouts] != buffer.counts[: len(parts)]:
        return False
    for index, part in enumerate(parts):
        if index not in program.written(buffer).parts:
            _copy(program, part, ConcatPlacement(buffer, index))
    blocks: list[tuple[int, ...]] = []
    start = 0
    for layout in layouts:
        blocks += [tuple(start + c for c in held) for held in layout.blocks]
        start += layout.channels
    whole = Layout(program.machine.lanes, tuple(blocks), buffer.halo, 0, buffer.total)
    shape = (parts[0].shape[0], start, *parts[0].shape[2:])
    expr = program.written(buffer).expr
    joined = Value(expr=expr, layout=whole, shape=shape, spatial=parts[0].spatial)
    program.define(node.outputs[0], joined)
    return True


def _copy(program: BlockedProgram, part: Value, placement: ConcatPlacement) -> None:
    assert part.layout is not None
    x = part.spec()
    layout = replace(part.layout, halo=placement.buffer.halo, total=placement.buffer.total)
    y = replace(layout.spec(part.spatial), first=None)
    op = Elementwise((x,), ((1, 1, 1),), y, ElementwiseChain(), batch_of(part.shape[0]))
    kernel = KernelMaker("copy", op, elementwise)
    program.call(kernel, [part.expr], y, part.shape[0], placement)
