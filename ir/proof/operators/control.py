"""Branches that are known to be taken, and loops that are known to end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..values import PointValues, UnsupportedError, spread
from .call import Call

Rule = Callable[[Call], PointValues | list[PointValues]]

_MOST_ROUNDS = 64


def _if(call: Call) -> list[PointValues]:
    taken = bool(call.x.fixed().reshape(()))
    return call.body("then_branch" if taken else "else_branch", [])


def _loop(call: Call) -> list[PointValues]:
    """A loop whose number of rounds no input decides."""
    count, go_on = call.given(0), call.given(1)
    limit = _MOST_ROUNDS + 1 if count is None else int(count.fixed().reshape(()))
    state = [call.value(at) for at in range(2, len(call.inputs))]
    scanned: list[list[PointValues]] = []
    rounds = 0
    while rounds < limit and (go_on is None or bool(go_on.fixed().reshape(()))):
        if rounds >= _MOST_ROUNDS:
            raise UnsupportedError("a Loop of many rounds")
        number = PointValues(np.array([rounds], np.int64), np.dtype(np.int64))
        condition = go_on or PointValues(np.ones(1, np.bool_), np.dtype(np.bool_))
        found = call.body("body", [number, condition, *state])
        go_on, state, rows = found[0], found[1 : 1 + len(state)], found[1 + len(state) :]
        scanned.append(rows)
        rounds += 1
    if not scanned and len(call.node.outputs) > len(state):
        raise UnsupportedError("a Loop of no rounds")
    return [*state, *(_stacked(list(rows)) for rows in zip(*scanned, strict=True))]


def _stacked(rows: list[PointValues]) -> PointValues:
    points = max(row.array.shape[0] for row in rows)
    arrays = [spread(row.array, points) for row in rows]
    return rows[0].with_array(np.stack(arrays, axis=1))


RULES: dict[str, Rule] = {"If": _if, "Loop": _loop}
