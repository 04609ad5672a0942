"""Values that a quantizer cannot hold: the feeds are not of the scale that calibration saw.

    outside = |{x : x < (least - zero point - 1/2) scale  or  x > (most - zero point + 1/2) scale}|

Counted inside the graph, batch by batch. What an activation would cut anyway, a quantizer cuts in
its place, and that is no loss: such ends are not counted. Nor are those beyond which all readers
are flat, as a HardSigmoid is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.build import make_constant
from ....ir.core.target import Target
from ....ir.core.variables import node_key
from ....ir.graph.clone import clone
from ....ir.ops.quantization.pairs import Pair
from ....passes.engine.context import Context, Feeds
from ....passes.quantize.qdq.dropped_bounds import bounds_of, moved_input
from ....passes.quantize.qdq.match_float import FloatMatch
from ....passes.quantize.qdq.pairs import Pairs
from ....passes.quantize.quantize.calibration.flat_ends import flat_ends
from ..backend import OnnxRuntime
from .error_probe import ErrorProbe

_MOST_BATCHES = 8
_MOST_TOLD = 3
_MUCH, _LITTLE = 0.1, 0.02  # of the values outside; of the range of an input that is used


@dataclass(frozen=True)
class _Range:
    """What the quantizer behind a tensor holds; infinities where an activation cuts there."""

    place: str
    tensor: str
    low: float
    high: float
    is_input: bool


def range_remarks(
    graph: gs.Graph, match: FloatMatch, feeds: Feeds, threads: int | None
) -> tuple[str, ...]:
    """Say where over a tenth of the values lie outside what the pairs of `graph` hold."""
    ranges = list(_ranges(graph, match))
    if not ranges:
        return ()
    outside, used = _measured(graph, ranges, feeds, threads)
    shares = sorted(zip(outside, ranges, strict=True), key=lambda each: -each[0])
    told = [
        f"{share:.0%} of values at {found.place} lie outside the calibrated range "
        f"{found.low:.3g}..{found.high:.3g}"
        for share, found in shares
        if share > _MUCH
    ]
    told += [
        f"values at {found.place} use {share:.1%} of the calibrated range "
        f"{found.low:.3g}..{found.high:.3g}"
        for share, found in zip(used, ranges, strict=True)
        if found.is_input and share < _LITTLE
    ]
    hint = ": are the feeds of the scale that calibration saw? (--pixels, --mean, --std)"
    return tuple(line + hint * (place == 0) for place, line in enumerate(told[:_MOST_TOLD]))


def _ranges(graph: gs.Graph, match: FloatMatch) -> Iterator[_Range]:
    pairs = Pairs(graph, Context(graph))
    outer = {id(node) for node in graph.nodes}
    for pair in pairs.all:
        view = pairs.view(pair.quantizer)
        known = pair.constants(view)
        if id(pair.quantizer) not in outer or known is None or not known.is_per_tensor:
            continue
        if not dtypes.is_integer(known.integer_type) or view.dtype(pair.source) != np.float32:
            continue
        least, most = dtypes.integer_limits(known.integer_type)
        zero = 0 if known.zero_point is None else int(known.zero_point.reshape(()))
        scale = float(known.scale.reshape(()))
        low, high = (least - zero - 0.5) * scale, (most - zero + 0.5) * scale
        cut = bounds_of(pair, view, match)
        flat = flat_ends(pair.source, view)
        given = moved_input(pair.source, view)
        yield _Range(
            _place(pair, pairs) if given is None else f"input '{given.name}'",
            pair.source.name,
            -math.inf if cut[0] > -math.inf or low - scale / 2 <= flat[0] else low,
            math.inf if cut[1] < math.inf or high + scale / 2 >= flat[1] else high,
            given is not None,
        )


def _place(pair: Pair, pairs: Pairs) -> str:
    producer = pairs.producer(pair)
    return pair.source.name if producer is None else node_key(producer)


def _measured(
    graph: gs.Graph, ranges: list[_Range], feeds: Feeds, threads: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of values outside each range, and the part of the range that is used."""
    copy = clone(graph)
    there = {t.name: t for node in copy.nodes for t in node.outputs if t.name}
    there.update((t.name, t) for t in copy.inputs)
    copy.outputs = []
    probe = ErrorProbe(copy)
    for number, found in enumerate(ranges):
        tensor = there[found.tensor]
        ends = [_end(probe, value, number) for value in (found.low, found.high)]
        below = probe.add("Less", [tensor, ends[0]], None, np.bool_)
        above = probe.add("Greater", [tensor, ends[1]], None, np.bool_)
        out = probe.add("Or", [below, above], None, np.bool_)
        share = probe.add("Cast", [out], {"to": dtypes.elem_type(np.dtype(np.float32))})
        copy.outputs.append(probe.add("ReduceMean", [share], {"keepdims": 0}))
        for op in ("ReduceMin", "ReduceMax"):
            copy.outputs.append(probe.add(op, [tensor], {"keepdims": 0}))
    run = OnnxRuntime().lower(copy, Target("cpu"), threads, optimization="basic")
    names = [tensor.name for tensor in copy.outputs]
    rows = []
    for feed in itertools.islice(feeds, _MOST_BATCHES):
        result = run(feed)
        rows.append([float(np.ravel(result[name])[0]) for name in names])
    seen = np.array(rows).reshape(len(rows), len(ranges), 3)
    widths = np.array([found.high - found.low for found in ranges])
    return seen[:, :, 0].mean(0), (seen[:, :, 2].max(0) - seen[:, :, 1].min(0)) / widths


def _end(probe: ErrorProbe, value: float, number: int) -> gs.Constant:
    name = f"planish-range/{len(probe.graph.nodes)}/{number}/{value}"
    return make_constant(name, np.array(value, np.float32))
