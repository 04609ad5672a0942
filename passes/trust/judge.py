"""Whether outputs that differ may differ: rounding, or a mistake.

Integers, booleans and text are to be equal. A float output may move by the plain tolerance, or by
ten times what the network's own rounding does to it, up to a cap above which a mistake would hide.
Beyond a hundredth of the way, float64 has the last word, where both graphs can be run in it. An
output of which a kernel gives no digits is judged by what that kernel reads.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.errors import VerificationError
from ...ir.run.comparison import compare_outputs
from ...ir.run.distance import OutputComparison
from ...ir.run.reference import Arrays, Reference
from .float64 import run_in_float64
from .rounding import (
    Rounding,
    differing,
    rounding_in_float64,
    rounding_of_tails,
    roundings,
    unit_of,
)
from .tails import error_before_tails

# A network that amplifies its own rounding is granted this many times what rounding alone does.
_ROUNDING_FACTOR = 10.0
# No tolerance is larger: beyond these parts of the range, mistakes would pass.
_CAP, _CAP_OF_HALVES = 1e-2, 3e-2
# Over so many times the plain tolerance, float64 is asked whether it is rounding at all.
_ASKED_FROM = 100.0
_RUNS = 2
_SIGNIFICAND = {"float32": 23, "float16": 10, "bfloat16": 7}
_BITS_OF_DOUBLES = 52


class Judge:
    """Knows the untouched graph, what it gave, and, where it had to find out, its rounding.

    `precision`: what a runtime was asked to compute its floats in. `undecided`, `in_its_stead`:
    outputs of which nothing was shown, and those that were judged by others, with what is to be
    told of it.
    """

    def __init__(
        self,
        graph: gs.Graph,
        feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]],
        outputs: Sequence[Arrays],
        *,
        seed: int,
        halves: bool,
        precision: str = "float32",
    ) -> None:
        self._graph, self._feeds, self._outputs = graph, feeds, outputs
        self._seed = seed
        # Measured is rounding of the graph's types: fewer bits round so many times as much.
        self._times = 2.0 ** (_SIGNIFICAND["float32"] - _SIGNIFICAND[precision])
        halves |= self._times > 1
        self._bits = _SIGNIFICAND[precision if self._times > 1 or not halves else "float16"]
        self._plain = max(1e-3, 2.0**-self._bits) if halves else 1e-5
        self._cap = _CAP_OF_HALVES if halves else _CAP
        self._granted = self._plain
        self._rounding = Rounding()
        self._roundings = roundings(graph, feeds, outputs, seed)  # as far as they are asked for
        self.undecided: dict[str, str] = {}
        self.in_its_stead: dict[str, str] = {}

    @property
    def tolerance(self) -> float:
        """Largest relative error that was granted, or would be without a look at rounding."""
        return self._granted

    def judge(
        self, before: Sequence[Arrays], after: Sequence[Arrays], graph: gs.Graph, what: str
    ) -> float:
        """Return the largest error of an output, of its range, that `graph` gives as `after`.

        Raises VerificationError where it may not. `before` is what a graph that was right gave.
        Differences that may be rounding or a mistake are written into `undecided`, by output.
        """
        largest = 0.0
        for found in compare_outputs(before, after).outputs:
            error: float | None = None
            if before[0][found.name].dtype.kind in "iubOUS":
                self._judge_exact(found, before, after, what)
            elif not found.max_rel <= self._plain:
                error = self._before_tails(found, after, graph)
                if error is None:
                    self._judge_float(found, before, after, graph, what)
            largest = max(largest, found.max_rel if error is None else error)
        return largest

    def _before_tails(
        self, found: OutputComparison, after: Sequence[Arrays], graph: gs.Graph
    ) -> float | None:
        """Return the error of what the last kernel of an output reads, where that settles it.

        The output is to be no farther than such a kernel is wrong, and what it reads equal.
        """
        name = found.name
        if not found.max_abs <= _ROUNDING_FACTOR * unit_of(after[0][name]):
            return None
        graphs, outputs = (self._graph, graph), (self._outputs, after)
        error = error_before_tails(graphs, outputs, self._feeds, name)
        if error is None or not error <= self._plain:
            return None
        self.in_its_stead[name] = (
            f"output '{name}' is small beside 1, where ONNX Runtime's kernel has no digits: what "
            "that reads was compared"
        )
        return error

    def _judge_exact(
        self,
        found: OutputComparison,
        before: Sequence[Arrays],
        after: Sequence[Arrays],
        what: str,
    ) -> None:
        name = found.name
        count = sum(differing(a[name], b[name]) for a, b in zip(before, after, strict=True))
        if not count:
            return
        flipped = self._measured().flipped.get(name, 0)
        size = sum(arrays[name].size for arrays in before)
        if count > _ROUNDING_FACTOR * flipped:
            if self._varies(name):
                return
            raise VerificationError(
                f"after {what} output '{name}' differs by up to {found.max_abs:.3g}, at {count} of "
                f"{size} elements; integers, booleans and text must be equal",
                output=name,
                error=found.max_rel,
                allowed=0.0,
            )
        self.undecided[name] = (
            f"output '{name}' differs at {count} of {size} elements, and rounding alone changes "
            f"{flipped} of them: values lie on the border between two results; give feeds with "
            "real samples, or make the scores before the last rounding an output"
        )

    def _judge_float(
        self,
        found: OutputComparison,
        before: Sequence[Arrays],
        after: Sequence[Arrays],
        graph: gs.Graph,
        what: str,
    ) -> None:
        name, error = found.name, found.max_rel
        if self._is_rounding(name, error):
            return
        cancelled = self._times * self._measured().cancelled.get(name, 0.0)
        if found.max_abs <= _ROUNDING_FACTOR * cancelled:
            self.undecided[name] = (
                f"output '{name}' is 0 where what it sums up cancels, and {found.max_abs:.1g} in "
                "another order of the sum; give feeds on which it is not 0"
            )
            return
        moved = self._times * self._measured().moved.get(name, 0.0)
        tails = 0.0
        if _ROUNDING_FACTOR * moved < error < math.inf:
            found_tails = rounding_of_tails(graph, self._feeds, before, after, self._seed)
            tails = found_tails.get(name, 0.0)
            moved = max(moved, tails)
        allowed = max(self._plain, _ROUNDING_FACTOR * moved)
        granted = min(allowed, self._cap)
        if error <= min(granted, _ASKED_FROM * self._plain):
            self._granted = max(self._granted, granted)
            return
        right = None
        if math.isfinite(error):
            right = self._in_float64(name, after, graph, allowed, tails)
        if right is not False and error <= (self._cap if right else granted):
            self._granted = max(self._granted, self._cap if right else granted)
        elif right is not False and (right or error <= allowed):
            told = _in_tails if tails == moved else self._amplified
            self.undecided[name] = told(name, error, moved)
        elif not self._varies(name):
            raise VerificationError(
                f"after {what} output '{name}' differs by {error:.3g} of its range (largest "
                f"difference {found.max_abs:.3g}); at most {granted:.3g} is allowed",
                output=name,
                error=error,
                allowed=granted,
            )

    def _varies(self, name: str) -> bool:
        """Say, and remember, whether the untouched graph gives other numbers from run to run.

        ONNX Runtime does where it passes on memory that nothing was written to.
        """
        run = Reference(self._graph)
        for feed, wanted in zip(self._feeds, self._outputs, strict=True):
            again = [run(feed)[name] for _ in range(_RUNS)]
            if any(_is_other(wanted[name], found) for found in again):
                self.undecided[name] = (
                    f"output '{name}' of the untouched graph differs from run to run on ONNX "
                    "Runtime, so nothing tells what it should be"
                )
                return True
        return False

    def _amplified(self, name: str, error: float, moved: float) -> str:
        times = moved * 2.0**self._bits
        return (
            f"this network amplifies rounding by {times:.1e} for these inputs: rounding alone "
            f"moves output '{name}' by {moved:.1g} of its range, and it differs by {error:.1g}, "
            f"where more than {self._cap:.0e} says nothing; give feeds with real samples, on which "
            "the output is more than what rounding leaves"
        )

    def _measured(self) -> Rounding:
        *_, self._rounding = (self._rounding, *self._roundings)
        return self._rounding

    def _is_rounding(self, name: str, error: float) -> bool:
        """Say whether rounding is known to move an output by `error`; measured until it is."""
        if error > min(self._cap, _ASKED_FROM * self._plain):
            return False
        while True:
            granted = _ROUNDING_FACTOR * self._times * self._rounding.moved.get(name, 0.0)
            if error <= granted:
                self._granted = max(self._granted, min(granted, self._cap))
                return True
            measured = next(self._roundings, None)
            if measured is None:
                return False
            self._rounding = measured

    def _in_float64(
        self, name: str, after: Sequence[Arrays], graph: gs.Graph, allowed: float, tails: float
    ) -> bool | None:
        """Say whether `graph` computes the same in float64; None where that cannot be told.

        Up to what rounding does there, and what its kernels make of small values, `tails`.

        It cannot where float64 is farther from what the runtime gave than rounding goes: then the
        evaluator means something else by an operator. Nor does it tell two graphs apart by less
        than twice what it is off itself from what the runtime made of them.
        """
        first = self._wide
        wide = None if first is None else run_in_float64(graph, self._feeds, is_small=True)
        if first is None or wide is None:
            return None
        off = _distance(first, self._outputs, name), _distance(wide, after, name)
        if max(off) > allowed:
            return None
        distance = _distance(first, wide, name)
        if distance <= self._plain:
            return True
        moved = self._moved_in_float64
        if moved is None:
            return None
        tails *= 2.0 ** (self._bits - _BITS_OF_DOUBLES)
        if distance <= _ROUNDING_FACTOR * max(moved.get(name, 0.0), tails):
            return True
        return False if distance > 2 * sum(off) else None

    @functools.cached_property
    def _wide(self) -> list[Arrays] | None:
        """The outputs of the untouched graph in float64; None where that does not run."""
        return run_in_float64(self._graph, self._feeds)

    @functools.cached_property
    def _moved_in_float64(self) -> dict[str, float] | None:
        """What units of the graph's own types do to them."""
        if self._wide is None:
            return None
        return rounding_in_float64(self._graph, self._feeds, self._wide, self._seed, self._bits)


def _is_other(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    if a.dtype.kind == "O":
        return bool(differing(a, b))
    return a.shape != b.shape or a.tobytes() != b.tobytes()


def _in_tails(name: str, error: float, _: float) -> str:
    return (
        f"output '{name}' is small beside 1, where ONNX Runtime's kernel of a function that was "
        f"recognized gives 0: it differs by {error:.1g} of its range; give feeds on which the "
        "output is not small"
    )


def _distance(a: Sequence[Arrays], b: Sequence[Arrays], name: str) -> float:
    """Return the largest difference of an output over its range in `a`."""
    pairs = [
        ({name: x[name].astype(np.float64)}, {name: y[name].astype(np.float64)})
        for x, y in zip(a, b, strict=True)
    ]
    return compare_outputs([x for x, _ in pairs], [y for _, y in pairs]).max_rel
