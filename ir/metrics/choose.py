"""Which metrics judge the outputs of a graph: chosen from what it says, or as asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.errors import RefusedError
from ..core.nearest import nearest
from . import recognize
from .detection import DetectionAgreement
from .heads import find_head, untold_heads
from .reading import OutputReading
from .result import Outputs
from .seen import ChosenMetric, SeenOutput
from .user import UserMetric, is_users, load_user_metric

_Recognizer = Callable[[SeenOutput], ChosenMetric | None]

# In this order, where nothing is asked for: the first that fits.
_AUTO: tuple[_Recognizer, ...] = (
    recognize.sequence,
    recognize.segmentation,
    recognize.heatmap,
    recognize.image,
    recognize.embedding,
    recognize.surely_classification,
    recognize.noise,
)
_ASKED: Mapping[str, _Recognizer] = {
    "classification": recognize.classification,
    "sequence": functools.partial(recognize.sequence, asked=True),
    "segmentation": functools.partial(recognize.segmentation, asked=True),
    "image": functools.partial(recognize.image, asked=True),
    "heatmap": functools.partial(recognize.heatmap, asked=True),
    "embedding": functools.partial(recognize.embedding, asked=True),
    "sqnr": recognize.noise,
}
# Those fit integers too, where no output holds floats.
_OF_NUMBERS = ("image", "sqnr")
_DETECTION = "detection"
# From this score on boxes count; where none reaches it, from half the highest.
_THRESHOLD = 0.25

AUTO = "auto"
METRIC_NAMES = (AUTO, *_ASKED, _DETECTION)


@dataclass(frozen=True)
class MetricOptions:
    """What is asked for.

    `metric`: a name of `METRIC_NAMES`, or a function of the user's, `file.py:function`.
    `class_axis`: the axis of the classes; None: read it. `labels`: entries of the feeds that are no
    inputs of the graph; the first has what is right, a user's function gets all of them.
    """

    metric: str = AUTO
    class_axis: int | None = None
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.metric not in METRIC_NAMES and not is_users(self.metric):
            raise RefusedError(
                f"metric is '{self.metric}'{nearest(self.metric, METRIC_NAMES)}; give one of "
                f"{', '.join(METRIC_NAMES)}, or a function of your own as file.py:function"
            )

    @property
    def label(self) -> str | None:
        """The entry that has what is right; None for none, and where only a function reads it."""
        return self.labels[0] if self.labels and not is_users(self.metric) else None

    def users(self) -> UserMetric | None:
        """Return the user's function, None where a metric of `METRIC_NAMES` is asked for."""
        return load_user_metric(self.metric) if is_users(self.metric) else None


AUTOMATIC = MetricOptions()


def see_outputs(
    readings: Mapping[str, OutputReading],
    options: MetricOptions,
    outputs: Outputs,
    feed: Mapping[str, np.ndarray[Any, Any]],
) -> list[SeenOutput]:
    """Return the outputs of a graph, as they are for `feed`, that metrics can look at.

    Raises RefusedError where no output has the axis that was asked for.
    """
    seen = [
        SeenOutput(reading, outputs[name], feed, _axis(reading, options, outputs[name]))
        for name, reading in readings.items()
        if name in outputs and outputs[name].dtype.kind in "fiu"
    ]
    axis = options.class_axis
    if axis is not None and all(each.class_axis is None for each in seen):
        shapes = ", ".join(f"'{n}' {list(a.shape)}" for n, a in outputs.items())
        raise RefusedError(f"class-axis is {axis}, which no output of scores has: {shapes}")
    return seen


def choose_metrics(seen: Sequence[SeenOutput], options: MetricOptions) -> tuple[ChosenMetric, ...]:
    """Return the metrics for the outputs `seen`: each is judged by one, alone or with others.

    What means nothing that is known is judged by SQNR; integers are, where nothing else is there
    to judge. Raises RefusedError where what was asked for
    fits no output.
    """
    if options.metric == AUTO or is_users(options.metric):
        return _automatic(seen)
    if options.metric == _DETECTION:
        fitting = [_detection(seen, asked=True)]
        untold = untold_heads(seen)
        if fitting == [None] and untold:
            raise RefusedError(f"metric=detection: {_untold(untold)}")
    else:
        fitting = [_ASKED[options.metric](each) for each in seen]
        if options.metric in _OF_NUMBERS and not any(fitting):
            fitting = [recognize.numbers(each) for each in seen]
    chosen = tuple(replace(c, is_sure=True) for c in fitting if c is not None)
    if not chosen:
        shapes = ", ".join(f"'{s.name}' {list(s.values.shape)}" for s in seen) or "none"
        raise RefusedError(
            f"metric={options.metric} fits no output of the graph ({shapes}); say with class-axis "
            "where the classes are, or leave metric out"
        )
    return chosen


def decisive(chosen: Sequence[ChosenMetric]) -> tuple[ChosenMetric, ...]:
    """Return those that a bound speaks of: SQNR only where no output has a meaning."""
    return tuple(c for c in chosen if c.is_sure) or tuple(chosen)


def guarding(
    chosen: Sequence[ChosenMetric], seen: Sequence[SeenOutput]
) -> tuple[ChosenMetric, ...]:
    """Return `chosen`, and what judges the outputs `seen` beside theirs, which may be ruined too.

    Of one that is 0 throughout, neither can be said.
    """
    judged = {name for each in chosen for name in each.outputs}
    rest = (_first_that_fits(each) for each in seen if each.name not in judged)
    silent = {each.name for each in seen if not np.any(each.values)}
    found = (*chosen, *(each for each in rest if each is not None))
    return tuple(each for each in found if each.is_sure or not silent.issuperset(each.outputs))


def top1_metrics(seen: Sequence[SeenOutput]) -> tuple[ChosenMetric, ...]:
    """Return top-1 agreement for all outputs with classes, whatever else they are."""
    return tuple(c for each in seen if (c := recognize.classification(each)) is not None)


def _automatic(seen: Sequence[SeenOutput]) -> tuple[ChosenMetric, ...]:
    detection = _detection(seen)
    taken = () if detection is None else detection.outputs
    untold = untold_heads([each for each in seen if each.name not in taken])
    alone = (_alone(each, untold) for each in seen if each.name not in taken)
    found = (*(() if detection is None else (detection,)), *(c for c in alone if c is not None))
    return found or tuple(c for each in seen if (c := recognize.numbers(each)) is not None)


def _alone(seen: SeenOutput, untold: Sequence[str]) -> ChosenMetric | None:
    """Return what judges one output; of the two `untold`, an operator or nothing says it."""
    if seen.name not in untold or seen.names_classes:
        return _first_that_fits(seen)
    found = recognize.noise(seen)
    return None if found is None else replace(found, why=_untold(untold))


def _untold(names: Sequence[str]) -> str:
    """Say that outputs may be a head of a detector, and what to do."""
    one, other = names
    return (
        f"'{one}' and '{other}' may be boxes and their scores for four classes, and neither values "
        "nor operators nor names tell which is which; name an output 'boxes' or 'scores', or give "
        "a function of your own as `metric`"
    )


def _first_that_fits(seen: SeenOutput) -> ChosenMetric | None:
    found = (fits(seen) for fits in _AUTO)
    return next((c for c in found if c is not None), None)


def _detection(seen: Sequence[SeenOutput], *, asked: bool = False) -> ChosenMetric | None:
    head = find_head(seen, asked=asked)
    if head is None:
        return None
    boxes = head.decode({each.name: each.values for each in seen})
    highest = max((float(b.scores.max(initial=0.0)) for b in boxes), default=0.0)
    threshold = _THRESHOLD if highest >= _THRESHOLD else highest / 2
    make = functools.partial(
        DetectionAgreement, head.outputs, head.decode, threshold, head.suppress
    )
    return ChosenMetric(kind=_DETECTION, outputs=head.outputs, why=head.what, make=make)


def _axis(
    reading: OutputReading, options: MetricOptions, values: np.ndarray[Any, Any]
) -> int | None:
    """Return the axis of the classes, counted from the front, where the output has it."""
    asked = options.class_axis
    if asked is None or reading.is_ids:
        return reading.class_axis
    if not -values.ndim <= asked < values.ndim:
        return None
    return asked % values.ndim
