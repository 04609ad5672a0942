"""A metric of the user's own: a function in a Python file.

    evaluate(compiled, feeds) -> float        higher is better

`compiled` is called with a dict of arrays, of which it takes the graph's inputs, and returns its
outputs by name; `feeds` are all feeds, with labels if there are any. The function may return one
number a sample instead of their mean; what the samples show of others is told then.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import RefusedError, in_words
from ..core.user_function import load_function, names_function
from .confidence import mean_at_most
from .result import Array, MetricResult

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
Feeds = Iterable[Mapping[str, Array]]

_PREFIX = "python:"
_GIVEN: dict[str, Callable[[Run, Feeds], Any]] = {}  # functions of this process, by text


def is_users(text: str) -> bool:
    """Say whether `text` names a function of a file, `file.py:function`, or of this process."""
    return names_function(text) or text in _GIVEN


def metric_text(metric: str | Callable[[Run, Feeds], Any]) -> str:
    """Return a text that names a metric: itself, or in this process the function that is given."""
    if isinstance(metric, str):
        return metric
    name = getattr(metric, "__name__", type(metric).__name__)
    for number in itertools.count(1):
        text = f"{_PREFIX}{name}" + (f"-{number}" if number > 1 else "")
        if _GIVEN.setdefault(text, metric) is metric:
            return text
    raise AssertionError


@dataclass(frozen=True)
class UserMetric:
    """The function `function`, called as `text` (`file.py:function`) names it."""

    text: str
    function: Callable[[Run, Feeds], Any]

    def values(self, run: Run, inputs: Collection[str], feeds: Feeds) -> Array:
        """Return what the function gives, as one number or one a sample.

        Raises RefusedError where it raises, or gives something else.
        """

        def compiled(feed: Mapping[str, Array]) -> Mapping[str, Array]:
            return run({name: array for name, array in feed.items() if name in inputs})

        try:
            found = np.asarray(self.function(compiled, feeds), np.float64).reshape(-1)
        except (Exception, SystemExit) as error:  # anybody's code
            raise RefusedError(f"metric {self.text} failed: {in_words(error)}") from error
        if not found.size or not np.all(np.isfinite(found)):
            raise RefusedError(
                f"metric {self.text} gave {found.tolist()[:3]}; return a number, or one a sample"
            )
        return found

    def result(self, candidate: Array, reference: Array) -> MetricResult:
        """Return what `candidate` has, beside what the float graph has."""
        value, own = float(candidate.mean()), float(reference.mean())
        low = None
        if len(candidate) == len(reference) > 1:
            lost = mean_at_most(reference - candidate)
            low = None if lost is None else own - lost
        return MetricResult(
            name=self.text.rpartition(":")[2],
            subject=f"of {self.text}",
            value=value,
            reference=own,
            low=low,
            samples=len(candidate) if len(candidate) > 1 else 0,
            unit="share" if math.fabs(own) <= 1 else "number",
        )


def load_user_metric(text: str) -> UserMetric:
    """Return the function that `file.py:function`, or a text of `metric_text`, names.

    Raises RefusedError where there is no such file or function, or the file cannot be run.
    """
    if text in _GIVEN:
        return UserMetric(text, _GIVEN[text])
    return UserMetric(text, load_function(text, "metric"))
