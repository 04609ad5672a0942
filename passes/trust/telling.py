"""Outputs on which a comparison shows nothing, whatever a pass did.

An output that is NaN, empty, one number throughout, or the same for all inputs that were tried is
the same after many a mistake. That it varies elsewhere does not help where the feeds, which alone
are compared, hold an activation at its end: every Sigmoid of 20 and more is 1 there. Outputs that
no value of the inputs can reach, such as constants and shapes, are what they are: comparing them
once shows all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.errors import ExecutionError, FeedError
from ...ir.core.variables import exotic_type
from ...ir.graph.order import reads
from ...ir.ops.traits import traits_of
from ...ir.run.reference import Arrays

Feed = Mapping[str, np.ndarray[Any, Any]]
Array = np.ndarray[Any, Any]

# An index or a flag may come out the same by chance, so many numbers together do not.
_TRIES, _TRIES_OF_MANY = 6, 2
_MANY = 64
_ENDS = (-1, 0, 1)
_NO_TENSOR = (
    "is a sequence, an optional or a map, which are not compared; end the graph in the tensors "
    "that it holds"
)


def untelling(
    graph: gs.Graph,
    feeds: Sequence[Feed],
    outputs: Sequence[Arrays],
    run: Callable[[Feed], Arrays],
    seed: int,
) -> dict[str, str]:
    """Return the outputs that show nothing, each with what it is and what would tell.

    `outputs` are those for `feeds`. Where they do not vary, and may do so by chance, `run` is asked
    for those of other inputs, drawn from the values of the first feed.
    """
    reached = reached_outputs(graph)
    seen = {name: _Seen([each[name] for each in outputs]) for name in outputs[0] if name in reached}
    compared = {name: what.reason_on_feeds(feeds) for name, what in seen.items()}
    generator = np.random.default_rng(seed)
    for tried in range(_TRIES):
        same = [
            name
            for name, what in seen.items()
            if not compared[name]
            and what.reason(varied=True)
            and not (tried >= _TRIES_OF_MANY and what.is_many)
        ]
        other = _redrawn(feeds[0], generator)
        if not same or other is None:
            break
        try:
            found = run(other)
        except (ExecutionError, FeedError):
            break
        for name in same:
            seen[name].add(found.pop(name))
    reasons = {
        name: compared[name] or what.reason(varied=what.count > 1) for name, what in seen.items()
    }
    reasons |= {t.name: _NO_TENSOR for t in graph.outputs if exotic_type(t) is not None}
    return {name: reason for name, reason in reasons.items() if reason}


def reached_outputs(graph: gs.Graph) -> set[str]:
    """Return the outputs that values of the graph's inputs can reach, not only their shapes."""
    reached = {id(t) for t in graph.inputs}
    for node in graph.nodes:
        if traits_of(node, graph.opset).constant or not any(id(t) in reached for t in reads(node)):
            continue
        reached.update(id(t) for t in node.outputs if t.name)
    return {t.name for t in graph.outputs if id(t) in reached}


class _Seen:
    """What the arrays of one output have in common; only the first of them is kept.

    `count`: how many there were, one at least.
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.count = 0
        self._first = arrays[0]
        self._number: Any = None  # the first one that is finite
        self._elements = self._text = False
        self._all_finite = self._only_nan = self._one_number = self._same = True
        for array in arrays:
            self.add(array)

    @property
    def is_many(self) -> bool:
        """Say whether it is many floats: that all are the same for another input is no chance."""
        return self._first.dtype.kind == "f" and self._first.size >= _MANY

    def add(self, array: Array) -> None:
        """Take in what the output is for one more feed."""
        self.count += 1
        self._same = self._same and np.array_equal(array, self._first)
        if not array.size:
            return
        if not self._elements:
            self._elements, self._text = True, array.dtype.kind in "OUS"
        if self._text:
            return
        finite = _is_finite(array)
        self._all_finite &= bool(finite.all())
        if not finite.all():
            self._only_nan &= bool(np.isnan(array[~finite]).all())
            array = array[finite]
        if array.size:
            self._number = array.flat[0] if self._number is None else self._number
            self._one_number = self._one_number and bool(np.all(array == self._number))

    def reason_on_feeds(self, feeds: Sequence[Feed]) -> str:
        """Say what the output is where no chance makes it so on `feeds`, those seen so far.

        A flag or an index is often the same for several of them. Floats are not, where floats that
        vary were fed, nor is one alone exactly an end of what an activation gives.
        """
        elements = self.count * self._first.size
        if self._first.dtype.kind in "iub":
            stuck = self._one_number and elements >= _MANY
        elif self._one_number:
            floats = [np.ravel(a) for feed in feeds for a in feed.values() if a.dtype.kind == "f"]
            vary = any(a.size and np.any(a != a[0]) for a in floats)
            at_end = self._number in _ENDS and not any(np.any(a == self._number) for a in floats)
            stuck = (elements > 1 and (vary or not _are_same(feeds))) or bool(floats and at_end)
        else:
            stuck = self._same and not _are_same(feeds)
        return self.reason(varied=True) if stuck else ""

    def reason(self, *, varied: bool) -> str:
        """Say what the output is, and which feeds would tell; empty where it tells something."""
        if not self._elements:
            return "is empty; feeds on which it has elements would tell"
        if self._text:
            return ""
        if self._number is None:
            return "is NaN or infinite throughout; feeds on which it is finite would tell"
        if not (varied and (self._all_finite or self._only_nan)):
            return ""
        if self._one_number:
            what = f"{self._number}" if self._all_finite else f"{self._number} or NaN"
            return f"is {what} throughout; feeds on which it varies would tell"
        if not self._all_finite:
            return ""
        if self._same:
            return "is the same for all inputs that were tried; feeds on which it varies would tell"
        return ""


def _is_finite(array: Array) -> Array:
    if array.dtype.kind in "iub":
        return np.ones(1, bool)
    with np.errstate(invalid="ignore"):
        found: Array = np.isfinite(array if array.dtype.kind in "fc" else array.astype(np.float32))
        return found


def _are_same(feeds: Sequence[Feed]) -> bool:
    first = feeds[0]
    return all(
        name in first and np.array_equal(array, first[name])
        for feed in feeds
        for name, array in feed.items()
    )


def _redrawn(feed: Feed, generator: np.random.Generator) -> Feed | None:
    """Return inputs of the same shapes with other elements, out of the same values; or None."""
    made = {name: _other(array, generator) for name, array in feed.items()}
    changed = any(not np.array_equal(made[name], array) for name, array in feed.items())
    return made if changed else None


def _other(array: Array, generator: np.random.Generator) -> Array:
    if not array.size or array.dtype.kind in "OUS":
        return array
    if np.all(array == array.flat[0]):
        return array if array.dtype.kind in "iub" else (array * 0.5 + 0.25).astype(array.dtype)
    found: Array = generator.choice(array.ravel(), array.shape)
    # Smaller as well, since the largest element is likely to be drawn again.
    part = generator.uniform(0.5, 1)
    return found if array.dtype.kind in "iub" else (found * part).astype(array.dtype)
