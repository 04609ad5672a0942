"""Choices with costs that depend on a few of them at once, and bounds on sums: solved exactly.

    min  sum over terms of  error[t, choice]
    subject to              seconds <= T,  bytes <= S,  one choice a variable

A term is a table over the choices of one variable or several, such as the seconds of a layer by
its precision and by how many channels it reads and makes. Each becomes a polytope: an entry of the
table has a weight, and the weights of those with a choice sum to that of the choice, which is 0 or
1. That is the local polytope of graphical models with whole variables, for a solver of mixed
integer programmes: HiGHS, through SciPy.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Choice = tuple[int, ...]

# What is counted, in this order in the tables.
COSTS = ("error", "seconds", "bytes")
_GAP = 1e-4
_NODES = 20_000


@dataclass(frozen=True)
class Term:
    """Costs [3, choices of the first variable, ...] over `variables`, in the order of `COSTS`.

    What costs infinitely much is never chosen.
    """

    variables: tuple[int, ...]
    costs: Array


@dataclass(frozen=True)
class ChoiceProblem:
    """Variables with so many choices each, and terms over them."""

    sizes: tuple[int, ...]
    terms: tuple[Term, ...]

    def costs(self, choice: Sequence[int]) -> dict[str, float]:
        """Return what `choice`, one number a variable, costs in all."""
        total = np.zeros(len(COSTS))
        for term in self.terms:
            entry: tuple[Any, ...] = (slice(None), *(choice[v] for v in term.variables))
            total += term.costs[entry]
        return dict(zip(COSTS, total.tolist(), strict=True))

    def solve(self, bounds: Mapping[str, float], *, least: str = "error") -> Choice | None:
        """Return the choice with the least of one cost within `bounds` of the others.

        None where there is none. Of choices that are as good, which one it is is left open, but
        always the same.
        """
        return _Programme(self).solve(bounds, least)


class _Programme:
    """The mixed integer programme of a problem."""

    def __init__(self, problem: ChoiceProblem) -> None:
        self._problem = problem
        starts = np.cumsum((0, *problem.sizes))
        self._starts = starts
        columns: list[Array] = [np.zeros((len(COSTS), int(starts[-1])))]
        rows: list[dict[int, float]] = [
            {int(starts[v]) + k: 1.0 for k in range(size)} for v, size in enumerate(problem.sizes)
        ]
        right = [1.0] * len(rows)
        count = int(starts[-1])
        for term in problem.terms:
            if len(term.variables) == 1:
                start = int(starts[term.variables[0]])
                columns[0][:, start : start + term.costs.shape[1]] += term.costs
                continue
            flat = term.costs.reshape(len(COSTS), -1)
            columns.append(flat)
            sizes = term.costs.shape[1:]
            entries = list(itertools.product(*map(range, sizes)))
            for axis, variable in enumerate(term.variables):
                for k in range(sizes[axis]):
                    row = {count + place: 1.0 for place, e in enumerate(entries) if e[axis] == k}
                    row[int(starts[variable]) + k] = -1.0
                    rows.append(row)
                    right.append(0.0)
            count += flat.shape[1]
        whole = np.concatenate(columns, axis=1)
        known = np.isfinite(whole).all(axis=0)
        self._most = known.astype(float)
        self._costs = np.where(known, whole, 0.0)
        self._rows, self._right, self._count = rows, right, count

    def solve(self, bounds: Mapping[str, float], least: str) -> Choice | None:
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import coo_array

        places = [(r, c, v) for r, row in enumerate(self._rows) for c, v in row.items()]
        r, c, v = (np.array(each) for each in zip(*places, strict=True))
        equal = coo_array((v, (r, c)), shape=(len(self._rows), self._count)).tocsr()
        limits = [LinearConstraint(equal, self._right, self._right)]
        for name, bound in bounds.items():
            line = self._costs[COSTS.index(name)]
            scale = float(np.abs(line).max()) or 1.0
            limits.append(LinearConstraint(line[None] / scale, -np.inf, bound / scale))
        target = self._costs[COSTS.index(least)]
        whole = np.zeros(self._count)
        whole[: int(self._starts[-1])] = 1
        found = milp(
            target / (float(np.abs(target).max()) or 1.0),
            constraints=limits,
            integrality=whole,
            bounds=Bounds(0, self._most),
            options={"mip_rel_gap": _GAP, "node_limit": _NODES},
        )
        if found.x is None:
            return None
        parts = np.split(found.x[: int(self._starts[-1])], self._starts[1:-1])
        return tuple(int(part.argmax()) for part in parts)
