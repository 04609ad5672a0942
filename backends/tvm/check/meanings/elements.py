"""What leaves elements as they are and moves, repeats or mixes them along space."""

from __future__ import annotations

import numpy as np

from ...kernels.depth_to_space import DepthToSpace
from ...kernels.elementwise import Elementwise
from ...kernels.lane_shuffle import LaneShuffle
from ...kernels.pack import Pack
from ...kernels.plain import PlainElementwise
from ...kernels.repack import Repack
from ...kernels.resample import Resample
from ...spec.layout import Array, BufferSpec
from ..draw import Draw
from .meaning import Meaning, meaning_of


@meaning_of.register
def _elementwise(op: Elementwise, draw: Draw) -> Meaning:
    parts = []
    for spec, scale in zip(op.parts, op.scales, strict=True):
        values = draw.tensor(spec, draw.size)
        for axis, times in enumerate(scale, start=2):
            values = np.repeat(values, times, axis=axis)
        parts.append(values)
    return Meaning(value=np.concatenate(parts, axis=1))


@meaning_of.register
def _plain_elementwise(op: PlainElementwise, draw: Draw) -> Meaning:
    value = draw.tensor(op.x, draw.size)
    return Meaning(value=np.broadcast_to(value, (draw.images, op.y.channels, *op.y.spatial)))


@meaning_of.register
def _resample(op: Resample, draw: Draw) -> Meaning:
    found = draw.tensor(op.x, draw.size).astype(np.float64)
    for axis, taps in enumerate(op.taps):
        if not taps:
            continue
        size, count = op.x.spatial[axis], op.y.spatial[axis]
        places = draw.rng.integers(0, size, (count, taps)).astype(np.int32)
        weights = draw.normal((count, taps))
        draw.args += [places, weights]
        matrix = np.zeros((count, size))
        np.add.at(matrix, (np.arange(count)[:, None], places), weights)
        found = np.moveaxis(np.tensordot(found, matrix, (axis + 2, 1)), -1, axis + 2)
    return Meaning(value=found.astype(np.float32))


@meaning_of.register
def _pack(op: Pack, draw: Draw) -> Meaning:
    x = draw.tensor(op.x, draw.size)
    added = op.y.channels - op.x.channels
    return Meaning(value=np.pad(x, ((0, 0), (0, added), (0, 0), (0, 0), (0, 0))))


@meaning_of.register
def _repack(op: Repack, draw: Draw) -> Meaning:
    x = draw.tensor(op.x, draw.size)
    places = _places(op.x)
    # Whatever the table says: some channels twice, others not at all.
    chosen = draw.rng.integers(0, len(places), op.slots)
    draw.args.append(places[chosen].astype(np.int32))
    held = chosen
    if op.y.lanes:
        filled = [b * op.y.lanes + lane for b, n in enumerate(op.y.blocks) for lane in range(n)]
        held = chosen[filled]
    return Meaning(value=x[:, held])


@meaning_of.register
def _lane_shuffle(op: LaneShuffle, draw: Draw) -> Meaning:
    values = [draw.tensor(x, draw.size) for x in op.xs]
    all_places = [(x, *place) for x, spec in enumerate(op.xs) for place in _places(spec).tolist()]
    known = {place: i for i, place in enumerate(all_places)}
    filled = [b * op.y.lanes + lane for b, n in enumerate(op.y.blocks) for lane in range(n)]
    together = np.concatenate(values, axis=1)
    return Meaning(value=together[:, [known[op.places[slot]] for slot in filled]])


@meaning_of.register
def _depth_to_space(op: DepthToSpace, draw: Draw) -> Meaning:
    values = draw.tensor(op.x, draw.size)[:, :, 0]
    known = {(0, *place): i for i, place in enumerate(_places(op.x).tolist())}
    filled = [b * op.y.lanes + lane for b, n in enumerate(op.y.blocks) for lane in range(n)]
    _, _, height, width = values.shape
    whole = np.empty((draw.images, op.y.channels, height * op.size, width * op.size), np.float32)
    for row, column, places in op.phases:
        chosen = [known[places[slot]] for slot in filled]
        whole[:, :, row :: op.size, column :: op.size] = values[:, chosen]
    rows, columns = (slice(a, a + n) for a, n in zip(op.starts, op.y.spatial[1:], strict=True))
    return Meaning(value=whole[:, :, None, rows, columns])


def _places(spec: BufferSpec) -> Array:
    """Return block and lane of each channel, blocks counted from the first of the range."""
    if not spec.lanes:
        return np.stack([np.zeros(spec.channels, np.int64), np.arange(spec.channels)], axis=1)
    return np.array([(b, lane) for b, n in enumerate(spec.blocks) for lane in range(n)])
