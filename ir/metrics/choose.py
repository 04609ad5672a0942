"""Which metrics judge the outputs of a graph: chosen from what it says, or as asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import RefusedError
from ..core.nearest import nearest
from .reading import OutputReading
from .recognize import classification, noise, sequence
from .result import Outputs
from .seen import ChosenMetric, SeenOutput

_Recognizer = Callable[[SeenOutput], ChosenMetric | None]

# In this order, where nothing is asked for: the first that fits.
_AUTO: tuple[_Recognizer, ...] = (sequence, classification)
_ASKED: Mapping[str, _Recognizer] = {
    "classification": classification,
    "sequence": lambda seen: sequence(seen, asked=True),
    "sqnr": noise,
}
AUTO = "auto"
METRIC_NAMES = (AUTO, *_ASKED)


@dataclass(frozen=True)
class MetricOptions:
    """What is asked for: a name of `METRIC_NAMES`, and the axis of the classes (None: read it)."""

    metric: str = AUTO
    class_axis: int | None = None

    def __post_init__(self) -> None:
        if self.metric not in METRIC_NAMES:
            raise RefusedError(
                f"metric is '{self.metric}'{nearest(self.metric, METRIC_NAMES)}; give one of "
                f"{', '.join(METRIC_NAMES)}"
            )


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
    samples = _samples(feed)
    seen = [
        SeenOutput(reading, outputs[name], samples, _axis(reading, options, outputs[name]))
        for name, reading in readings.items()
        if name in outputs and (reading.is_ids or outputs[name].dtype.kind == "f")
    ]
    axis = options.class_axis
    if axis is not None and all(each.class_axis is None for each in seen):
        shapes = ", ".join(f"'{n}' {list(a.shape)}" for n, a in outputs.items())
        raise RefusedError(f"class-axis is {axis}, which no output of scores has: {shapes}")
    return seen


def choose_metrics(seen: Sequence[SeenOutput], options: MetricOptions) -> tuple[ChosenMetric, ...]:
    """Return the metrics for the outputs `seen`, one for each that has a meaning or holds floats.

    Raises RefusedError where what was asked for fits no output.
    """
    if options.metric == AUTO:
        return tuple(_first_that_fits(each) for each in seen)
    chosen = tuple(c for each in seen if (c := _ASKED[options.metric](each)) is not None)
    if not chosen:
        shapes = ", ".join(f"'{s.name}' {list(s.values.shape)}" for s in seen) or "none"
        raise RefusedError(
            f"metric={options.metric} fits no output of the graph ({shapes}); say with class-axis "
            "where the classes are, or leave metric out"
        )
    return chosen


def top1_metrics(seen: Sequence[SeenOutput]) -> tuple[ChosenMetric, ...]:
    """Return top-1 agreement for all outputs with classes, whatever else they are."""
    return tuple(c for each in seen if (c := classification(each)) is not None)


def _first_that_fits(seen: SeenOutput) -> ChosenMetric:
    found = (recognize(seen) for recognize in _AUTO)
    return next((c for c in found if c is not None), noise(seen))


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


def _samples(feed: Mapping[str, np.ndarray[Any, Any]]) -> int | None:
    """Return the number of samples of a feed: the first axis that its arrays share."""
    sizes = {array.shape[0] for array in feed.values() if array.ndim}
    return sizes.pop() if len(sizes) == 1 else None
