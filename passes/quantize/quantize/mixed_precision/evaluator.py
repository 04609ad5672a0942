"""Runs choices over feeds and says how close to float they come."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np

from .....ir.core import dtypes
from .....ir.core.errors import FeedError
from .....ir.run.compare import Accumulator
from .....ir.run.reference import Arrays, Reference
from ....engine.context import Feeds
from ..variants import QuantizedVariants
from .bounds import Accuracy
from .margins import Margins

# Float outputs are kept up to this many bytes, and computed anew for feeds beyond.
_KEPT = 1 << 26


class ChoiceEvaluator:
    """Compares choices over `variants` with the float graph on `feeds`, in constant memory.

    Choices run as users run them: ONNX Runtime with its optimizations on computes on integers.
    """

    def __init__(
        self, variants: QuantizedVariants, feeds: Feeds, progress: Callable[[], None] = lambda: None
    ) -> None:
        self._variants = variants
        self._feeds = feeds
        self._progress = progress
        self._float = Reference(variants.graph, optimized=True)
        self._kept: list[Arrays] = []
        self._bytes = 0
        self._found: dict[tuple[frozenset[str], int | None], Accuracy] = {}

    def measure(self, chosen: Collection[str], most: int | None = None) -> Accuracy:
        """Return the accuracy of `chosen` on integers, on the first `most` feeds (None: all)."""
        key = (frozenset(chosen), most)
        if key not in self._found:
            self._found[key] = self._measure(key[0], most)
            self._progress()
        return self._found[key]

    def _measure(self, chosen: frozenset[str], most: int | None) -> Accuracy:
        run = Reference(self._variants.build(chosen), optimized=True)
        totals: dict[str, Accumulator] = {}
        margins: dict[str, Margins] = {}
        samples = 0
        for feed, expected in self._references(most):
            found = run(feed)
            samples += _batch(feed)
            for name, a in expected.items():
                if not dtypes.is_float(a.dtype):
                    continue
                b = found[name]
                totals.setdefault(name, Accumulator(name)).add(a, b)
                if a.ndim >= 2 and a.shape[1] > 1 and a.size and a.shape == b.shape:
                    margins.setdefault(name, Margins()).add(a, b)
        if not totals:
            raise FeedError("there are no feeds, or no float output, to judge by")
        results = [total.result() for total in totals.values()]
        agreements = [r.top1_agreement for r in results if r.top1_agreement is not None]
        return Accuracy(
            min(r.sqnr_db for r in results),
            min(agreements, default=None),
            min((m.agreement() for m in margins.values()), default=None),
            float(sum(np.power(10.0, -r.sqnr_db / 10) for r in results)),
            samples,
        )

    def _references(
        self, most: int | None
    ) -> Iterator[tuple[Mapping[str, np.ndarray[Any, Any]], Arrays]]:
        """Yield feeds with what the float graph gives for them."""
        for index, feed in enumerate(itertools.islice(self._feeds, most)):
            if index < len(self._kept):
                yield feed, self._kept[index]
                continue
            found = self._float(feed)
            size = sum(array.nbytes for array in found.values())
            if index == len(self._kept) and self._bytes + size <= _KEPT:
                self._kept.append(found)
                self._bytes += size
            yield feed, found


def _batch(feed: Mapping[str, np.ndarray[Any, Any]]) -> int:
    return max((array.shape[0] for array in feed.values() if array.ndim), default=1)
