"""Whether two results of ONNX Runtime, before and after, are the same but for rounding.

Integers, booleans and shapes are equal. Floats lie within 1e-5 of the range of their output, with
16-bit floats in the model within their own rounding; beyond that, within ten times what rounding
every result of the untouched model does to that output, up to a cap; and far beyond, both models
agree in float64. A unit of 1 behind what the result has of kernels that lose their tails counts as
rounding. What was computed without a model to ask may differ as long as float64 is no
further from it than from ONNX Runtime. Where a pool reads what is no number or minus infinity, a
layer what became infinite or no number on the way, or arithmetic overflows, floats are not judged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

import planish
from planish.passes.trust.float64 import run_in_float64
from planish.passes.trust.rounding import Rounding, rounding_of, rounding_of_tails

from .on_the_way import is_number, overflows, overflows_in_16_bits, reads_no_number
from tests.strategies.random_graphs.evaluate import run_session, session_of

Array = np.ndarray[Any, Any]

_CAP = 1e-2
_TOLERANCE = 1e-5
_SEEDS = 6


def tolerance_of(model: onnx.ModelProto) -> float:
    """Return the part of an output's range that the narrowest float type of `model` rounds away."""
    text = onnx.printer.to_text(model)
    if "bfloat16" in text or "to: int = 16" in text:
        return 2e-2
    return 2e-3 if "float16" in text or "to: int = 10" in text else _TOLERANCE


class Judge:
    """Knows the untouched model and, once it had to ask, its rounding."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self._tolerance = tolerance_of(model)
        self.is_of_16_bits = self._tolerance > _TOLERANCE
        self.undecided: list[str] = []
        self.settled: list[str] = []

    def differs(
        self,
        feed: Mapping[str, Array],
        before: Mapping[str, Array],
        after: Mapping[str, Array],
        result: onnx.ModelProto | None,
    ) -> tuple[str, str] | None:
        """Return the kind of the first difference that is a fault, and what it is.

        `result`: the model that gave `after`; None where something else than a model did.
        """
        if list(before) != list(after):
            return "interface", f"outputs are {list(after)}, not {list(before)}"
        for name, wanted in before.items():
            found = after[name]
            if (wanted.dtype, wanted.shape) != (found.dtype, found.shape):
                kind = "type" if wanted.dtype != found.dtype else "shape"
                told = f"{found.dtype}{found.shape}, not {wanted.dtype}{wanted.shape}"
                return kind, f"output {name} is {told}"
        differing = [name for name in before if not _same(before[name], after[name])]
        judged = self._judged(feed, before, (-1e3, 1e3)) if differing else {}
        for name in differing:
            fault = self._output(name, feed, before, after, judged[name], result)
            if fault and fault[0] == "floats":
                # x - x is 0 of all numbers; what overflows in x shows as no number.
                marked = judged[name] & self._judged(feed, before, (np.nan,))[name]
                fault = self._output(name, feed, before, after, marked, result)
            if (
                fault
                and fault[0] == "floats"
                and self._is_of_no_number(feed, before[name], after[name])
            ):
                self.undecided.append(name)
            elif fault:
                return fault
        return None

    def overflows_in_16_bits(self, feed: Mapping[str, Array]) -> bool:
        """Say whether numbers become infinite in 16 bits on the way.

        The runtime keeps 32 between some nodes, and so what is infinite in one order of them only.
        """
        return self.is_of_16_bits and overflows_in_16_bits(self.model, feed)

    def _is_of_no_number(self, feed: Mapping[str, Array], before: Array, after: Array) -> bool:
        if reads_no_number(self.model, feed):
            return True
        return not all(is_number(a).all() for a in (before, after)) and overflows(self.model, feed)

    def _judged(
        self, feed: Mapping[str, Array], before: Mapping[str, Array], others: Sequence[float]
    ) -> dict[str, Array]:
        """Return which elements count: all, but for those that depend on what overflows.

        Those are other ones with `others` in its place. Weights multiplied beforehand give infinity
        or no number elsewhere than one after the other.
        """
        judged = {name: np.ones(array.shape, bool) for name, array in before.items()}
        wild = {name: _wild(array) for name, array in feed.items()}
        if not any(mask.any() for mask in wild.values()):
            return judged
        session = session_of(self.model)
        for other in others:
            found = _first_that_runs(session, _tamed(feed, wild, other))
            if found is None:  # what is read may be sizes: nothing is known of what depends on it
                self.undecided.extend(before)
                return {name: np.zeros(array.shape, bool) for name, array in before.items()}
            for name, array in found.items():
                same = array.shape == before[name].shape
                judged[name] &= (array == before[name]) if same else False
        return judged

    def _output(
        self,
        name: str,
        feed: Mapping[str, Array],
        before: Mapping[str, Array],
        after: Mapping[str, Array],
        judged: Array,
        result: onnx.ModelProto | None,
    ) -> tuple[str, str] | None:
        wanted, found = before[name][judged], after[name][judged]
        if wanted.dtype.kind in "iubO":
            count = int(np.count_nonzero(wanted != found))
            if not count:
                return None
            for seed in range(_SEEDS):
                if count <= 10 * self._rounding(feed, before, seed).flipped.get(name, 0):
                    self.undecided.append(name)
                    return None
            return "integers", f"output {name} differs at {count} of {wanted.size}"
        error = relative_error(wanted, found)
        if error <= self._tolerance:
            return None
        moved = self._moved(name, feed, before, error)
        told = f"output {name} differs by {error:.2g} of its range, rounding by {moved:.2g}"
        if error > 10 * moved:
            cancelled = self._rounding(feed, before).cancelled.get(name, 0.0)
            if np.abs(found - wanted).max() <= 10 * cancelled:
                self.undecided.append(name)
                return None
            if result is not None and error <= 10 * self._tails(name, feed, before, after, result):
                self.undecided.append(name)
                return None
            if result is None and self._is_nearer(name, feed, before[name], after[name]):
                self.undecided.append(name)
                return None
            return "floats", told
        if result is None:
            return None
        if error > 100 * self._tolerance and self._wrong_in_float64(name, feed, result):
            return "floats", told + ", and in float64 as well"
        if error > _CAP:
            self.undecided.append(name)
        return None

    def _moved(
        self, name: str, feed: Mapping[str, Array], before: Mapping[str, Array], error: float
    ) -> float:
        """Return how far rounding moves an output; a quantizer's tie goes either way at times."""
        moved = 0.0
        for seed in range(_SEEDS):
            moved = max(moved, self._rounding(feed, before, seed).moved.get(name, 0.0))
            if error <= 10 * moved:
                break
        return moved

    def _rounding(
        self, feed: Mapping[str, Array], before: Mapping[str, Array], seed: int = 0
    ) -> Rounding:
        return rounding_of(planish.load(self.model), [feed], [dict(before)], seed)

    def _tails(
        self,
        name: str,
        feed: Mapping[str, Array],
        before: Mapping[str, Array],
        after: Mapping[str, Array],
        result: onnx.ModelProto,
    ) -> float:
        """Return how far an output moves with a kernel that gives 0 for what is small beside 1."""
        graph = planish.load(result)
        return rounding_of_tails(graph, [feed], [before], [after], 0).get(name, 0.0)

    def _is_nearer(self, name: str, feed: Mapping[str, Array], before: Array, after: Array) -> bool:
        """Say whether float64 is no further from `after` than from what ONNX Runtime gives."""
        wide = run_in_float64(planish.load(self.model), [feed])
        if wide is None or wide[0][name].shape != before.shape:
            return False
        exact = wide[0][name]
        return relative_error(exact, after) <= max(relative_error(exact, before), self._tolerance)

    def _wrong_in_float64(
        self, name: str, feed: Mapping[str, Array], result: onnx.ModelProto
    ) -> bool:
        """Say whether both differ in float64 too, beyond what it leaves of zeros that cancel."""
        wide = [run_in_float64(planish.load(m), [feed]) for m in (self.model, result)]
        if wide[0] is None or wide[1] is None:
            return False
        wanted, found = wide[0][0][name], wide[1][0][name]
        if np.abs(wanted).max(initial=0) < 1e-9:
            return bool(np.abs(found).max(initial=0) > 1e-6)
        error = relative_error(wanted, found)
        return error > self._tolerance and error > 10 * _storing_moves(name, feed, result, found)


def _tamed(
    feed: Mapping[str, Array], wild: Mapping[str, Array], other: float
) -> Iterator[dict[str, Array]]:
    """Yield `feed` with another number where it is wild; a smaller one next, which may be fed."""
    for number in (other, other / 500):
        yield {
            name: np.where(wild[name], array.dtype.type(number), array)
            if wild[name].any()
            else array
            for name, array in feed.items()
        }


def _first_that_runs(
    session: ort.InferenceSession, feeds: Iterable[Mapping[str, Array]]
) -> dict[str, Any] | None:
    for feed in feeds:
        with contextlib.suppress(Exception):  # the binding raises one class per status code
            return run_session(session, feed)
    return None


def _same(wanted: Any, found: Any) -> bool:
    """Say whether two results are the same to the last bit."""
    if wanted.dtype.kind == "O":
        return bool((wanted == found).all())
    return bool(wanted.tobytes() == found.tobytes())


def _storing_moves(
    name: str, feed: Mapping[str, Array], result: onnx.ModelProto, found: Array
) -> float:
    """Return what a unit in the last place of constants, where they are stored, does in float64."""
    moved = onnx.ModelProto.FromString(result.SerializeToString())
    for tensor in moved.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            # The next number: what one that was folded is rounded to.
            tensor.CopyFrom(numpy_helper.from_array(np.nextafter(values, np.inf), tensor.name))
    wide = run_in_float64(planish.load(moved), [feed])
    return 0.0 if wide is None else relative_error(found, wide[0][name])


def relative_error(wanted: Array, found: Array) -> float:
    """Return the largest difference over the range of `wanted`; infinite where one is no number."""
    if not wanted.size:
        return 0.0
    a, b = wanted.astype(np.float64), found.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if np.any(~same & ~(np.isfinite(a) & np.isfinite(b))):
        return np.inf
    difference = np.abs(np.where(same, 0, a) - np.where(same, 0, b)).max()
    scale = np.abs(a[np.isfinite(a)]).max(initial=0)
    return float(difference / scale) if scale else float(np.inf if difference else 0)


def _wild(array: Array) -> Array:
    if array.dtype.kind in "iubO":
        return np.zeros(array.shape, bool)
    with np.errstate(invalid="ignore"):
        return ~(np.abs(array.astype(np.float64)) < 1e5)
