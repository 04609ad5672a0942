"""Which channels go: whole steps of a group at a time, until enough have gone.

A step leaves a number of channels that is a multiple, and as many in each cell of a balanced group.
Its channels are those with the lowest scores; its score is their mean. The lowest step goes first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .channel_units import Array, ChannelUnits, cells_of_balance, unit_of
from .cost_models import CostModel


@dataclass(frozen=True)
class ChannelLimits:
    """How far groups may shrink: see the options `multiple` and `least` of `prune`."""

    multiple: int | None
    least: float


def floor_of(row: ChannelUnits, rules: ChannelLimits) -> int:
    """Return how many channels of a row stay at least; all of them where steps are larger."""
    cells = int(cells_of_balance(row.group).max()) + 1
    unit = unit_of(row.group.channels, cells, rules.multiple)
    floor = unit * math.ceil(max(rules.least * row.group.channels, 1) / unit)
    return min(floor, row.group.channels)


def next_count(row: ChannelUnits, left: int, rules: ChannelLimits) -> int:
    """Return how many channels of a row are left after one more step; as many where none is."""
    cells = int(cells_of_balance(row.group).max()) + 1
    unit = unit_of(row.group.channels, cells, rules.multiple)
    below = (left - 1) // unit * unit
    return below if below >= floor_of(row, rules) else left


def take_lowest(row: ChannelUnits, scores: Array, gone: Array, count: int) -> Array:
    """Return the `count` channels that go next, as many of each cell of a balanced group."""
    cells = cells_of_balance(row.group)
    each = count // (int(cells.max()) + 1)
    found = []
    for cell in range(int(cells.max()) + 1):
        own = np.flatnonzero((cells == cell) & ~gone)
        found.append(own[np.argsort(scores[own], kind="stable")[:each]])
    return np.concatenate(found)


def choose_globally(
    rows: Sequence[ChannelUnits],
    scores: Sequence[Array],
    budget: CostModel,
    target: float,
    rules: ChannelLimits,
    *,
    nearest: bool,
    by_cost: bool,
) -> list[Array]:
    """Return which channels are gone once the budget is `target` or less.

    `nearest`: a step that would go past it by more than it lacks is left out. `by_cost`: the step
    that loses least for what it saves goes first, not the one that loses least.
    """
    gone = [row.gone.copy() for row in rows]
    shut: set[int] = set()
    left = budget.left()
    pending: dict[int, tuple[float, Array]] = {}
    while left > target + _slack(budget):
        for number, row in enumerate(rows):
            if number in shut or (number in pending and not by_cost):
                continue
            alive = int((~gone[number]).sum())
            count = alive - next_count(row, alive, rules)
            if not count:
                shut.add(number)
                pending.pop(number, None)
                continue
            if number not in pending:
                chosen = take_lowest(row, scores[number], gone[number], count)
                pending[number] = (float(scores[number][chosen].mean()), chosen)
        best, least = None, math.inf
        for number, (score, chosen) in pending.items():
            saved = budget.saves(number, len(chosen)) if by_cost or nearest else 1.0
            if nearest and saved > 2 * (left - target):
                continue
            rank = score * len(chosen) / saved if by_cost and saved else score
            if best is None or rank < least:
                best, least = number, rank
        if best is None:
            break
        _, chosen = pending.pop(best)
        gone[best][chosen] = True
        left -= budget.saves(best, len(chosen))
        budget.take(best, len(chosen))
    return gone


def choose_alike(
    rows: Sequence[ChannelUnits],
    scores: Sequence[Array],
    counts: Sequence[int],
) -> list[Array]:
    """Return which channels are gone once `counts` are left of each row."""
    found = []
    for row, score, count in zip(rows, scores, counts, strict=True):
        gone = row.gone.copy()
        more = int((~gone).sum()) - count
        if more > 0:
            gone[take_lowest(row, score, gone, more)] = True
        found.append(gone)
    return found


def counts_alike(
    rows: Sequence[ChannelUnits], budget: CostModel | None, amount: float, rules: ChannelLimits
) -> list[int]:
    """Return how many channels are left of each row when all lose the same part of them.

    That is `amount`, or with a `budget`, of which nothing is taken, the least part by which its
    cost falls by `amount`.
    """
    if budget is None:
        return [_nearest_count(row, 1 - amount, rules) for row in rows]
    target = budget.whole * (1 - amount) + _slack(budget)
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if _cost_at(rows, budget, middle, rules) <= target:
            high = middle
        else:
            low = middle
    return [_nearest_count(row, 1 - high, rules) for row in rows]


def _cost_at(
    rows: Sequence[ChannelUnits], budget: CostModel, part: float, rules: ChannelLimits
) -> float:
    taken = [row.group.channels - _nearest_count(row, 1 - part, rules) for row in rows]
    for number, count in enumerate(taken):
        budget.take(number, count)
    found = budget.left()
    for number, count in enumerate(taken):
        budget.take(number, -count)
    return found


def _nearest_count(row: ChannelUnits, part: float, rules: ChannelLimits) -> int:
    """Return the number of channels nearest to `part` of a row that steps reach."""
    wanted = part * row.group.channels
    left = row.group.channels
    while True:
        after = next_count(row, left, rules)
        if after == left or (left + after) / 2 < wanted:
            return left
        left = after


def _slack(budget: CostModel) -> float:
    """Return how much rounding may leave of a cost."""
    return 1e-9 * budget.whole
