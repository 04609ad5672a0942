"""A concatenation whose parts lie, or are copied, where they belong: ranges of one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs

from ..graph.concat import ConcatBuffer, ConcatPlacement
from ..graph.groups import REAL, FusionGroup
from ..kernels.elementwise import Elementwise, elementwise
from ..kernels.lane_shuffle import LaneShuffle, can_shuffle, lane_shuffle
from ..spec.chain import ElementwiseChain
from ..spec.layout import Layout, no_halo
from .blocked import BlockedProgram, ChannelPick
from .kernel_program import KernelMaker
from .kernel_result import KernelResult
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
            _copy(program, part, ConcatPlacement(buffer, index), result)
    blocks: list[tuple[int, ...]] = []
    start = 0
    for layout in layouts:
        blocks += [tuple(start + c for c in held) for held in layout.blocks]
        start += layout.channels
    whole = Layout(program.machine.lanes, tuple(blocks), buffer.halo, 0, buffer.total)
    shape = (parts[0].shape[0], start, *parts[0].shape[2:])
    expr = program.written(buffer).expr
    dtype = str(program.view.dtype(result))
    real = Value(expr=expr, layout=whole, shape=shape, dtype=dtype)
    like = parts[0] if _is_raw(program, result) else real
    spatial = parts[0].spatial
    found = replace(like, expr=expr, layout=whole, shape=shape, spatial=spatial, scale=None)
    program.define(result, found)
    return True


def emit_joined_concat(program: BlockedProgram, group: FusionGroup) -> bool:
    """Emit a concatenation with parts that are some channels of blocks; False where it has none.

    Each channel comes from where it stands, whatever its part is of.
    """
    node, lanes = group.anchor, program.machine.lanes
    picks = [program.picks.get(id(tensor)) for tensor in node.inputs]
    if not any(picks):
        return False
    parts = [
        pick or _whole(program.blocked(tensor, lambda layout: layout.lanes == lanes))
        for pick, tensor in zip(picks, node.inputs, strict=True)
    ]
    first = parts[0].value
    channels = sum(len(part.channels) for part in parts)
    layout = Layout.plain(channels, lanes, no_halo(len(first.spatial)))
    y = KernelResult(program, group, layout, first.shape[0])
    values = list({id(part.value): part.value for part in parts}.values())
    raw = y.keeps(*values)
    number = {id(value): index for index, value in enumerate(values)}
    places = [
        (number[id(part.value)], int(block), int(lane))
        for part in parts
        for block, lane in part.places
    ]
    whole = tuple(places[i] for held in y.layout.blocks for i in _filled(held, lanes))
    xs = tuple(value.spec(raw=raw) for value in values)
    op = LaneShuffle(xs, y.spec, whole, y.batch)
    stored = raw or not (group.followers or any(value.scale is not None for value in values))
    if not stored or not can_shuffle(op):
        return False
    y.emit("join", op, lane_shuffle, [value.expr for value in values])
    return True


def _whole(value: Value) -> ChannelPick:
    return ChannelPick(value, tuple(range(int(value.shape[1]))))


def _filled(held: Sequence[int], lanes: int) -> list[int]:
    """Return the channels of a block; lanes without one repeat the first."""
    return [*held, *[held[0]] * (lanes - len(held))]


def _is_raw(program: BlockedProgram, result: gs.Tensor) -> bool:
    """Say whether `result` is bytes, and its parts are joined as they are stored."""
    return program.view.dtype(result) not in REAL


def _copy(
    program: BlockedProgram, part: Value, placement: ConcatPlacement, result: gs.Tensor
) -> None:
    assert part.layout is not None
    raw = _is_raw(program, result)
    x = part.spec(raw=raw)
    layout = replace(part.layout, halo=placement.buffer.halo, total=placement.buffer.total)
    dtype = part.dtype if raw else str(program.view.dtype(result))
    y = replace(layout.spec(part.spatial, dtype=dtype), first=None)
    if raw:
        y = replace(y, zero=part.zero)
    op = Elementwise((x,), ((1, 1, 1),), y, ElementwiseChain(), batch_of(part.shape[0]))
    kernel = KernelMaker("copy", op, elementwise)
    program.call(kernel, [part.expr], y, part.shape[0], placement)
