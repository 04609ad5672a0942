"""The ranges of a graph's tensors over feeds, each seen once, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import onnx_graphsurgeon as gs

from ...context import Feeds
from ..formats import UINT8, Format
from ..tap import stream
from .observers import MinMax, MovingAverage, Observer, Range

Method = Literal["min-max", "moving-average", "percentile", "entropy", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)


def calibrate(
    graph: gs.Graph,
    names: Sequence[str],
    feeds: Feeds,
    *,
    method: Method = "min-max",
    form: Format = UINT8,
    symmetric: bool = False,
    momentum: float = 0.99,
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, Range]:
    """Return the range of each of the tensors `names` of `graph`, its inputs among them.

    `form`, `symmetric`: the grid that the range is for. `momentum` is for the moving average.
    Raises FeedError naming tensor and sample for NaN or infinity, or where there are no feeds.
    """
    observers = {
        name: make_observer(method, form, symmetric=symmetric, momentum=momentum) for name in names
    }
    for found in stream(graph, names, feeds, progress):
        for name, observer in observers.items():
            observer.update(found[name])
    return {name: observer.range() for name, observer in observers.items()}


def make_observer(
    method: Method, form: Format = UINT8, *, symmetric: bool = False, momentum: float = 0.99
) -> Observer:
    """Return a fresh observer; the options are those of `calibrate`."""
    if method == "moving-average":
        return MovingAverage(momentum)
    return MinMax()
