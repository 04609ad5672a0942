"""A concatenation whose parts lie, or are copied, where they belong: ranges of one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs

from ..graph.joins import ConcatBuffer, ConcatPlacement
from ..kernels.elementwise import Elementwise, elementwise
from ..spec.chain import ElementwiseChain
from ..spec.layout import Layout
from .blocked import BlockedProgram
from .value import Value, batch_of


def join_parts(
    program: BlockedProgram, node: gs.Node, join: ConcatBuffer, parts: Sequence[Value]
) -> bool:
    """Define the result of `node` as blocks of `join`; False where a part's blocks do not fit.

    Parts that lie elsewhere are copied first.
    """
    layouts = [part.layout for part in parts if part.layout is not None]
    if [len(layout.blocks) for layout in layouts] != join.counts[: len(parts)]:
        return False
    for index, part in enumerate(parts):
        if index not in join.filled:
            _copy(program, part, ConcatPlacement(join, index))
    blocks: list[tuple[int, ...]] = []
    start = 0
    for layout in layouts:
        blocks += [tuple(start + c for c in held) for held in layout.blocks]
        start += layout.channels
    whole = Layout(program.machine.lanes, tuple(blocks), join.halo, 0, join.total)
    shape = (parts[0].shape[0], start, *parts[0].shape[2:])
    program.define(node.outputs[0], Value(join.expr, whole, shape, parts[0].spatial))
    return True


def _copy(program: BlockedProgram, part: Value, place: ConcatPlacement) -> None:
    assert part.layout is not None
    x = part.form()
    layout = replace(part.layout, halo=place.join.halo, total=place.join.total)
    y = replace(layout.form(part.spatial), first=None)
    op = Elementwise((x,), ((1, 1, 1),), y, ElementwiseChain(), batch_of(part.shape[0]))
    program.call("copy", op, elementwise, [part.expr], y, part.shape[0], place)
