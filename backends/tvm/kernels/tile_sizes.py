"""How much of a convolution's result is held in registers at once: a cost model, no measuring.

A tile holds `rows` x `columns` positions of `blocks` output blocks in vector registers. One step
loads `blocks` weight vectors and one number a position and does rows * columns * blocks
multiply-adds, two a cycle:

    cycles = max(accumulators / 2, latency) + a little for every load, more for weights beyond L1

and the layer takes that many for every step of every tile, partly empty tiles included. Where more
than two threads share the parts of a layer, it takes the rounds of who has most of them:

    cycles / parts * ceil(parts / threads) * threads

A tile says how much is summed at once and not in which order: results have the same bits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..spec.machine import CpuMachine

_LATENCY = 4  # cycles until a multiply-add's result can be added to
# What a load adds to a step, in cycles, though it could be hidden: other threads share the ports.
_LOAD = 0.1
_L2_LOAD = 0.2
FEW = 2  # so many threads are never short of parts worth having
_TILE_CYCLES = 20  # addresses, first loads and stores of a tile, a vector stored


@dataclass(frozen=True)
class RegisterTile:
    """Register tile of a convolution, and whether output blocks or positions vary slower."""

    rows: int
    columns: int
    blocks: int
    positions_first: bool


@dataclass(frozen=True, kw_only=True)
class TileProblem:
    """`rows` x `columns` of one group's `blocks`, and what a tile's cost depends on besides.

    `steps`: multiply-adds for one element of the result. `input_bytes`: of one image's group.
    `sums`: how many are held at most, None for what leaves two registers free. `times`: how often
    there are so many rows and columns, of images and groups.
    """

    rows: int
    columns: int
    blocks: int
    steps: int
    input_bytes: int
    sums: int | None = None
    times: int = 1

    def parts(self, tile: RegisterTile) -> int:
        """Return the number of tiles."""
        pairs = (self.rows, tile.rows), (self.columns, tile.columns), (self.blocks, tile.blocks)
        return self.times * math.prod(math.ceil(whole / part) for whole, part in pairs)

    def fits(self, tile: RegisterTile, machine: CpuMachine) -> bool:
        """Say whether `tile` lies within the result and its sums and weights in registers."""
        return (
            1 <= tile.rows <= self.rows
            and 1 <= tile.columns <= self.columns
            and 1 <= tile.blocks <= self.blocks
            and (tile.rows * tile.columns + 1) * tile.blocks <= machine.registers
        )


def choose(
    machine: CpuMachine,
    problem: TileProblem,
    threads: int = 1,
    parts_of: Callable[[RegisterTile], int] | None = None,
) -> RegisterTile:
    """Return the tile with the fewest cycles on `threads`.

    `parts_of`: how many parts there are to share; None: a tile is a part.
    """
    best, least = None, math.inf
    for tile, cycles in costs(machine, problem):
        if threads > FEW:
            cycles *= uneven(parts_of(tile) if parts_of else problem.parts(tile), threads)
        # On a tie, the wider tile: fewer, longer runs through memory.
        if best is None or cycles < least * 0.999:
            best, least = tile, cycles
    assert best is not None
    return best


def uneven(parts: int, threads: int) -> float:
    """Return how much longer `parts` take than if they were shared evenly."""
    return math.ceil(parts / threads) * threads / parts


def costs(machine: CpuMachine, problem: TileProblem) -> Iterator[tuple[RegisterTile, float]]:
    """Yield every tile that leaves two registers free, narrow ones first, with its cycles."""
    weight_bytes = problem.blocks * problem.steps * machine.lanes * 4
    # Large weights are prefetched block by block, which wants blocks to vary slower.
    positions_first = weight_bytes <= machine.l2 // 8 and problem.input_bytes > machine.l2 // 4
    budget = machine.registers - 2
    for r, c, b in itertools.product(range(1, 9), range(1, 33), range(1, 9)):
        if r > problem.rows or c > problem.columns or b > problem.blocks or r * c * b + b > budget:
            continue
        accumulators = r * c * b
        if problem.sums is not None and accumulators > problem.sums:
            continue
        share = b * problem.steps * machine.lanes * 4
        weight_load = _L2_LOAD if share > machine.l1 // 2 else _LOAD
        step = max(accumulators / 2, _LATENCY) + r * c * _LOAD + b * weight_load
        tile = RegisterTile(r, c, b, positions_first)
        tiles = problem.parts(tile) // problem.times
        yield tile, tiles * (problem.steps * step + _TILE_CYCLES + accumulators)
