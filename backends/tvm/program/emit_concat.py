"""A concatenation whose parts lie, or are copied, where they belong: ranges of one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from ..graph.concat import ConcatBuffer, ConcatPlacement
from ..kernels.elementwise import Elementwise, elementwise
from ..spec.chain import ElementwiseChain
from ..spec.layout import Layout
from .blocked import BlockedProgram
from .kernel_program import KernelMaker
from .value import Value, batch_of


def emit_placed_concat(
    program: BlockedProgram, result: gs.Tensor, buffer: ConcatBuffer, parts: Sequence[Value]
) -> bool:
    """Define a joined `result` as blocks of `buffer`; False where a part's blocks do not fit.

    Parts that lie elsewhere are copied first. Bytes are joined as they are stored.
    """
    layouts = [part.layout for part in parts if part.layout is not None]
    if [len(layout.blocks) for layout in layouts] != buffer.counts[: len(parts)]:
        return False
    for index, part in enumerate(parts):
        if index not in program.written(buffer).parts:
            _copy(program, part, ConcatPlacement(buffer, index), _is_raw(program, result))
    blocks: list[tuple[int, ...]] = []
    start = 0
    for layout in layouts:
        blocks += [tuple(start + c for c in held) for held in layout.blocks]
        start += layout.channels
    whole = Layout(program.machine.lanes, tuple(blocks), buffer.halo, 0, buffer.total)
    shape = (parts[0].shape[0], start, *parts[0].shape[2:])
    expr = program.written(buffer).expr
    like = parts[0] if _is_raw(program, result) else Value(expr=expr, layout=whole, shape=shape)
    spatial = parts[0].spatial
    found = replace(like, expr=expr, layout=whole, shape=shape, spatial=spatial, scale=None)
    program.define(result, found)
    return True


def _is_raw(program: BlockedProgram, result: gs.Tensor) -> bool:
    """Say whether `result` is bytes, and its parts are joined as they are stored."""
    return program.view.dtype(result) != np.float32


def _copy(program: BlockedProgram, part: Value, placement: ConcatPlacement, raw: bool) -> None:
    assert part.layout is not None
    x = part.spec(raw=raw)
    layout = replace(part.layout, halo=placement.buffer.halo, total=placement.buffer.total)
    y = replace(layout.spec(part.spatial), first=None)
    if raw:
        y = replace(y, dtype=part.dtype, zero=part.zero)
    op = Elementwise((x,), ((1, 1, 1),), y, ElementwiseChain(), batch_of(part.shape[0]))
    kernel = KernelMaker("copy", op, elementwise)
    program.call(kernel, [part.expr], y, part.shape[0], placement)
