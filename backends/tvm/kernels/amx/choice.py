"""Whether a convolution's products are those of tiles, and how its work is cut: a cost model.

    tiles      max(16 for each product, 8 for each load) cycles a step, and what copying takes
    vectors    positions * output blocks * steps / 2

A product of two full tiles is as many multiply-adds as 64 instructions on vectors of bytes have. It
takes its time however few rows or bytes are filled: few positions or channels stay with vectors.

Source: as `convolution`; the cycles are that manual's, and were not measured.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from ...spec.machine import CpuMachine
from ..bfloat16 import memory_type
from ..convolution import Convolution, problem_of
from ..dot import ByteDot, HalfDot
from ..elements import FLOAT
from ..prologue import cuts_for, run_sizes
from ..tile_sizes import RegisterTile
from .plan import MatrixConvolution, MatrixPlan
from .unit import ROW_BYTES, ROWS, multiplies_tiles

_AT_ONCE = 2  # tiles along each axis: four sums, two factors on either side
_PRODUCT, _LOAD, _STORE = 16, 8, 16  # cycles
_COPY = 3.0  # cycles for a block of a position
_RESULT = 2.0  # for a vector of sums that is read again
_WORTH = 0.95  # of the cycles of vectors: less is within what the model knows


@lru_cache(maxsize=1024)
def choose_matrix(conv: Convolution, machine: CpuMachine, threads: int) -> MatrixConvolution | None:
    """Return `conv` as products of tiles, cut for so many `threads`; None where vectors are faster.

    None as well where the machine has no such products, or the channels do not lie in blocks.
    """
    if not multiplies_tiles(machine, conv.dot.total) or not _fits(conv):
        return None
    found = MatrixConvolution(conv, _plan(conv, machine, threads))
    problem = problem_of(conv, machine)
    vectors = problem.times * problem.rows * problem.columns * problem.blocks * problem.steps / 2
    return found if _cycles(found, machine) < _WORTH * vectors else None


def _fits(conv: Convolution) -> bool:
    """Say whether lanes are rows of a tile, and every lane reads the same channels."""
    if type(conv.dot) not in (ByteDot, HalfDot) or conv.dot.shared is not None:
        return False
    if conv.prologue.steps and (conv.x.lanes != conv.y.lanes or conv.dot.total != FLOAT):
        return False
    return conv.x.lanes > 0 and conv.y.lanes * 4 == ROW_BYTES


def _plan(conv: Convolution, machine: CpuMachine, threads: int) -> MatrixPlan:
    """Return how the work is cut: runs whose input stays in the first cache, cut for `threads`."""
    times, height, width = _positions(conv, machine)
    rows = math.ceil(width / math.ceil(width / ROWS))
    across, blocks = min(_AT_ONCE, width // rows), min(_AT_ONCE, conv.y_blocks)
    whole = MatrixConvolution(
        conv,
        MatrixPlan(
            rows=rows, across=across, blocks=blocks, run_rows=height, run_columns=width, cuts=1
        ),
    )
    tile = RegisterTile(1, rows * across, blocks, positions_first=True)
    each = whole.depth * np.dtype(memory_type(conv.x.dtype)).itemsize
    run_rows, run_columns = run_sizes((height, width), tile, each, machine.l1)
    plan = replace(whole.plan, run_rows=run_rows, run_columns=run_columns)
    count = times * math.ceil(height / run_rows) * math.ceil(width / run_columns)
    run = replace(whole, plan=plan)
    tiles = math.ceil(conv.y_blocks / blocks)
    before, each_tile = _copied(run), _summed(run)
    cuts = cuts_for(count, tiles, threads, most=tiles, before=before, each=each_tile)
    return replace(plan, cuts=cuts)


def _positions(conv: Convolution, machine: CpuMachine) -> tuple[int, int, int]:
    """Return how often there are how many rows and columns of results, of images and groups."""
    problem = problem_of(conv, machine)
    if not MatrixConvolution.joins(conv):
        return problem.times, problem.rows, problem.columns
    images = conv.batch or 1
    return problem.times // images, problem.rows, problem.columns * images


def _cycles(op: MatrixConvolution, machine: CpuMachine) -> float:
    """Return the cycles of all runs."""
    plan = op.plan
    times, height, width = _positions(op.conv, machine)
    count = times * math.ceil(height / plan.run_rows) * math.ceil(width / plan.run_columns)
    tiles = math.ceil(op.conv.y_blocks / plan.blocks)
    return count * (plan.cuts * _copied(op) + tiles * _summed(op))


def _copied(op: MatrixConvolution) -> float:
    """Return the cycles in which the input of a run is copied."""
    positions = math.prod(window.size for window in op.windows)
    return positions * math.ceil(op.depth / op.conv.y.lanes) * _COPY


def _summed(op: MatrixConvolution) -> float:
    """Return the cycles of the sums of a run, of as many output blocks as are summed at once."""
    plan = op.plan
    products = plan.across * plan.blocks
    step = max(products * _PRODUCT, (plan.across + plan.blocks) * _LOAD)
    sums = math.prod(op.conv.kernel) * op.chunks * step
    results = products * (_STORE + plan.rows * _RESULT)
    return plan.run_rows * math.ceil(plan.run_columns / plan.columns) * (sums + results)
