"""Chosen metrics, gathered side by side, feed by feed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..core.errors import FeedError, RefusedError
from .labels import UnfitLabelsError, shown_labels
from .result import Array, MetricResult, Outputs
from .seen import ChosenMetric


class MetricTally:
    """The metrics `chosen`, which have seen nothing; `labels` is the entry of the feeds with them.

    They go to the first metric that takes any: what others are judged by is the float graph.
    Raises RefusedError where there are labels and none takes them.
    """

    def __init__(self, chosen: Sequence[ChosenMetric], labels: str | None = None) -> None:
        self._chosen = chosen
        self._metrics = [each.make() for each in chosen]
        self._labels = labels
        places = (place for place, each in enumerate(chosen) if each.takes_labels)
        self._labelled = next(places, None) if labels is not None else None
        if labels is not None and chosen and self._labelled is None:
            raise RefusedError(
                f"nothing would read the labels '{labels}': they say what is right of "
                f"classification, sequence and segmentation, and outputs are judged by "
                f"{', '.join(dict.fromkeys(each.kind for each in chosen))}; leave them out, or "
                "judge by a function of your own, file.py:function"
            )

    def add(self, feed: Mapping[str, Array], a: Outputs, b: Outputs) -> None:
        """Take in what both graphs give for `feed`; raises FeedError where labels do not fit."""
        for place, metric in enumerate(self._metrics):
            if place != self._labelled or self._labels is None:
                metric.add(a, b)
                continue
            labels = feed.get(self._labels)
            if labels is None:
                raise FeedError(
                    f"the feeds have no entry '{self._labels}' that says what is right; they have "
                    f"{', '.join(sorted(feed)) or 'none'}"
                )
            try:
                metric.add(a, b, labels)
            except ValueError as error:
                shapes = ", ".join(f"'{n}' {list(a[n].shape)}" for n in self._chosen[place].outputs)
                wanted = f"; give {error}" if isinstance(error, UnfitLabelsError) else ""
                raise FeedError(
                    f"labels '{self._labels}' are {shown_labels(np.asarray(labels))}, which does "
                    f"not fit {shapes} as {self._chosen[place].kind}{wanted}"
                ) from error

    def results(self) -> tuple[MetricResult, ...]:
        """Return what was found so far."""
        return tuple(metric.result() for metric in self._metrics)
