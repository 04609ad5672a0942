"""Whether a convolution runs as Winograd's, in which tiles, and how the work is cut: a cost model.

    products    tiles * points * C * M / (multiply-adds a cycle)
    transforms  cycles a point: inputs for each share of the outputs, weights for each group of
                tiles, results once

against taps * positions * C * M for the direct kernel. All is counted in vectors; a transform's
cycles are those of writing its points beyond the first cache. What a group of tiles holds stays in
the second cache: plans that would not are not considered.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache

from ...spec.layout import covers
from ...spec.machine import CpuMachine
from ..convolution import Convolution
from ..elements import FLOAT
from ..tiles import Sizes
from .convolution import Winograd
from .steps import WinogradPlan

# Results along an axis that are tried for each number of taps; 36 points fill the registers.
_RESULTS = {1: (1,), 3: (2, 4), 5: (2,)}
_MOST_POINTS = 36
# Cycles for one vector of one point, measured.
_INPUT, _WEIGHT, _RESULT = 10.0, 2.5, 6.0
_LATENCY, _LOAD, _ADD = 4, 0.1, 3.0
_FILL = 20.0  # each time that registers are filled and emptied
_DIRECT = 1.1  # of the direct kernel's multiply-adds, by what its loads cost
_JUDGED, _ALIKE = 2, 16  # threads
_WORTH = 0.95  # of the direct kernel's cycles: less is within what the model knows


@lru_cache(maxsize=1024)
def choose_winograd(conv: Convolution, machine: CpuMachine, threads: int) -> Winograd | None:
    """Return the fastest form of `conv`, or None where that is the direct one.

    Up to 16 threads it is the fastest on two, cut for as many as there are, so that results have
    the same bits.
    """
    judged = _JUDGED if threads <= _ALIKE else threads
    best, least = None, _WORTH * _direct_cycles(conv, judged)
    for results in _candidates(conv):
        plan, cycles = plan_for(conv, results, machine, judged)
        if plan is not None and cycles < least:
            best, least = (results, plan), cycles
    if best is None:
        return None
    results, plan = best
    if threads != judged:
        plan, _ = plan_for(conv, results, machine, threads)
    assert plan is not None  # what a plan may hold does not depend on threads
    return Winograd(conv, results, plan)


def _candidates(conv: Convolution) -> Iterator[Sizes]:
    """Yield the tiles that the shape allows: stride 1, 3 or 5 taps, results of a tile or more."""
    ones = (1, 1, 1)
    known = all(taps in _RESULTS for taps in conv.kernel)
    if not known or conv.kernel == ones or conv.strides != ones or conv.dilations != ones:
        return
    if conv.dot.total != FLOAT or conv.x.lanes != conv.y.lanes:
        return
    for first, second, third in itertools.product(*(_RESULTS[taps] for taps in conv.kernel)):
        results = first, second, third
        fits = all(m <= size for m, size in zip(results, conv.y.spatial, strict=True))
        if fits and _points(conv, results) <= _MOST_POINTS:
            yield results


def plan_for(
    conv: Convolution, results: Sizes, machine: CpuMachine, threads: int
) -> tuple[WinogradPlan | None, float]:
    """Return the fastest plan for tiles of `results`, and its cycles on each of `threads`."""
    points = _points(conv, results)
    tiles = math.prod(-(-y // m) for y, m in zip(conv.y.spatial, results, strict=True))
    if conv.batch is not None and covers(conv.x.halo, conv.pads):
        tiles *= conv.batch  # else images come one by one
    blocks = len(conv.y.blocks) // conv.group
    best, least = None, math.inf
    for splits, groups in itertools.product(_cuts(blocks), _cuts(tiles)):
        share, size = -(-blocks // splits), -(-tiles // groups)
        work = conv.group * -(-blocks // share) * -(-tiles // size)
        rounds = -(-work // threads)
        for together, held in _register_tiles(size, share, machine):
            depth = max(1, machine.l2 // 6 // (points * held * machine.lanes**2 * 4))
            plan = WinogradPlan(size, -(-blocks // share), together, held, depth)
            if _bytes(conv, points, plan, machine) > machine.l2 * 3 // 4:
                continue
            cycles = rounds * _cycles(conv, points, plan, share)
            if cycles < least * 0.999:
                best, least = plan, cycles
    return best, least


def _direct_cycles(conv: Convolution, threads: int) -> float:
    vectors = math.prod(conv.y.spatial) * len(conv.y.blocks) * (conv.x.channels // conv.group)
    taps = math.prod(conv.kernel)
    return (conv.batch or 1) * vectors * taps / conv.dot.width / 2 * _DIRECT / threads


def _cycles(conv: Convolution, points: int, plan: WinogradPlan, share: int) -> float:
    """Return the cycles of one group of tiles and share of the output blocks."""
    channels, ins = conv.x.channels // conv.group, len(conv.x.blocks) // conv.group
    sums = plan.together * plan.blocks
    step = max(sums / 2, _LATENCY) + (plan.together + plan.blocks) * _LOAD
    pieces = -(-ins // plan.depth)
    rounds = plan.steps * -(-share // plan.blocks) * points
    return (
        rounds * (channels * step + pieces * (_FILL + sums * _ADD))
        + points * plan.steps * plan.together * ins * _INPUT
        + points * channels * share * _WEIGHT
        + points * plan.tiles * share * _RESULT
    )


def _register_tiles(tiles: int, blocks: int, machine: CpuMachine) -> Iterator[tuple[int, int]]:
    for held in range(1, min(blocks, 4) + 1):
        most = min(tiles, (machine.registers - 2 - held) // held)
        # Among equally many steps the shortest one repeats the fewest tiles.
        yield from {(-(-tiles // steps), held) for steps in
                    {-(-tiles // most) + extra for extra in range(3)}}  # fmt: skip


def _bytes(conv: Convolution, points: int, plan: WinogradPlan, machine: CpuMachine) -> int:
    ins = len(conv.x.blocks) // conv.group
    ready = min(plan.depth, ins) * machine.lanes * plan.blocks
    return points * machine.lanes * 4 * (plan.steps * plan.together * (ins + plan.blocks) + ready)


def _points(conv: Convolution, results: Sizes) -> int:
    return math.prod(m + k - 1 for m, k in zip(results, conv.kernel, strict=True))


def _cuts(size: int) -> list[int]:
    """Return the numbers of parts that are tried: all small ones, then each a quarter more."""
    found = [1]
    while found[-1] < size:
        found.append(max(found[-1] + 1, found[-1] * 5 // 4))
    return [part for part in found if part <= size]
