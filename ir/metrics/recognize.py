"""With which metric a single output is to be judged, by what the graph and its values say."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from .classification import Top1Agreement
from .noise import SignalToNoise
from .result import Array, Metric
from .seen import ChosenMetric, SeenOutput
from .sequence import StringAgreement

# In recognised lines a blank stands beside nearly every symbol; elsewhere no class at an end of the
# range comes first so often.
_LEAST_BLANKS = 0.2


def classification(seen: SeenOutput) -> ChosenMetric | None:
    """Return top-1 agreement, for class scores or indices of classes."""
    if seen.reading.is_ids:
        why = seen.reading.because
    elif _has_scores(seen):
        why = f"{seen.classes} classes along axis {seen.class_axis}, since {_because(seen)}"
    else:
        return None
    axis = None if seen.reading.is_ids else seen.class_axis
    return _chosen(
        "classification", seen, why, functools.partial(Top1Agreement, seen.name, axis, seen.batch)
    )


def sequence(seen: SeenOutput, *, asked: bool = False) -> ChosenMetric | None:
    """Return agreement of CTC strings, for scores or indices at the steps of a sequence.

    `asked`: without looking for a blank that comes first often.
    """
    found = _class_ids(seen)
    if found is None or len(seen.positions) != 1:
        return None
    ids, classes = found
    blank, share = _blank(ids, classes)
    if not asked and (share < _LEAST_BLANKS or len(np.unique(ids)) < 2):
        return None
    axis = None if seen.reading.is_ids else seen.class_axis
    why = (
        f"{classes} classes along axis {axis}, since {_because(seen)}, over the steps of axis "
        f"{seen.positions[0]}, of which {100 * share:.0f} % are blank {blank}"
    )
    make = functools.partial(StringAgreement, seen.name, axis, seen.batch, blank)
    return _chosen("sequence", seen, why, make)


def noise(seen: SeenOutput) -> ChosenMetric:
    """Return SQNR, which fits any output."""
    return ChosenMetric(
        kind="sqnr",
        outputs=(seen.name,),
        why="what it means is not known; `metric` says so",
        make=functools.partial(SignalToNoise, seen.name, seen.batch),
        is_sure=False,
    )


def _class_ids(seen: SeenOutput) -> tuple[Array, int] | None:
    """Return the classes that come first and the number of classes, where there are classes."""
    if seen.reading.is_ids:
        return seen.values, int(seen.values.max(initial=0)) + 1
    if not _has_scores(seen):
        return None
    return np.asarray(np.argmax(seen.values, seen.class_axis)), seen.classes


def _has_scores(seen: SeenOutput) -> bool:
    """Say whether there are scores of several classes, which are not in order already."""
    floats = seen.values.dtype.kind == "f" and seen.values.size > 0
    return seen.classes > 1 and floats and not seen.reading.is_ranked


def _blank(ids: Array, classes: int) -> tuple[int, float]:
    """Return the first or last class, whichever comes first more often, and in which share."""
    shares = [(float(np.mean(ids == blank)), -blank) for blank in (0, classes - 1)]
    share, negative = max(shares)
    return -negative, share


def _because(seen: SeenOutput) -> str:
    return seen.reading.because or "`class-axis` says so"


def _chosen(kind: str, seen: SeenOutput, why: str, make: Callable[[], Metric]) -> ChosenMetric:
    return ChosenMetric(kind=kind, outputs=(seen.name,), why=why, make=make)
