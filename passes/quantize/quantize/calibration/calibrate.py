"""The ranges of a graph's tensors over feeds, each seen once, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.errors import PipelineError
from .....ir.core.variables import dense_values
from .....ir.graph.uses import scopes
from ....analysis.observe.bodies import names_inside
from ....analysis.observe.capture import stream_tensors
from ....engine.context import Context, Feeds
from ...grids.formats import UINT8, IntegerFormat
from .entropy import entropy_range
from .flat_ends import Ends, flat_ends
from .histogram import Histogram
from .mse import mse_range
from .observers import MinMax, MovingAverage, Observer, Range
from .percentile import percentile_range
from .widening import HeldBackRanges, Outermost, widenings

Method = Literal["min-max", "moving-average", "percentile", "entropy", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
# Says which of several ranges is best.
Judge = Callable[[Sequence[HeldBackRanges]], int]


def calibrate(
    graph: gs.Graph,
    names: Sequence[str],
    feeds: Feeds,
    *,
    method: Method = "min-max",
    form: IntegerFormat = UINT8,
    symmetric: bool = False,
    momentum: float = 0.99,
    percentile: float = 99.99,
    bins: int = 4096,
    flat: bool = False,
    widen: bool = False,
    judge: Judge | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, Range]:
    """Return the range of each of the tensors `names` of `graph`, its inputs among them.

    Tensors of bodies are left out where no sample gave them a value: their body did not run, or it
    stands within a Scan.
    `form`, `symmetric`: the grid that the range is for. `momentum`: of the moving average.
    `percentile`: the part that lies below the upper end, and above the lower one. `bins`: most bins
    of a histogram, of 8 bytes each, one histogram a tensor; percentile, entropy and mse take them.
    `flat`: values that no reader tells from others count as the nearest that it does.
    `widen`: let ranges reach beyond the samples as far as that helps those held back (`widening`).
    `judge`: of several ways to do so, say which; None: the most cautious.
    Memory does not grow with the feeds, and their order matters to the moving average alone.

    Raises FeedError naming tensor and sample for NaN or infinity, or where there are no feeds;
    PipelineError for an option out of its range.
    """
    observers = {
        name: make_observer(
            method,
            form,
            symmetric=symmetric,
            momentum=momentum,
            percentile=percentile,
            bins=bins,
        )
        for name in names
    }
    ends = ends_of(graph, names) if flat else {}
    outermost = {name: Outermost() for name in names if widen}
    inputs = [tensor.name for tensor in graph.inputs if dense_values(tensor) is None]
    unseen = names_inside(graph) & set(names)
    for found in stream_tensors(graph, [*names, *(inputs if widen else ())], feeds, progress):
        samples = _samples([found[name] for name in inputs if name in found])
        for name, observer in observers.items():
            if name not in found:
                continue  # it is not shown
            values = np.clip(found[name], *ends[name]) if name in ends else found[name]
            observer.update(values)
            if values.size:
                unseen.discard(name)
            if widen:
                outermost[name].update(values, samples)
    ranges = {n: observer.range() for n, observer in observers.items() if n not in unseen}
    flattened = {name: found for name, found in ends.items() if name in ranges}
    choices = widenings(ranges, outermost, form) if widen else [ranges]
    choices = [one | {n: one[n].within(*e) for n, e in flattened.items()} for one in choices]
    if judge is None or all(one == choices[0] for one in choices):
        return choices[0]
    shares = {name: outermost[name].shares_of_others() for name in ranges}
    return choices[judge([HeldBackRanges(one, shares) for one in choices])]


def _samples(inputs: Sequence[np.ndarray[Any, Any]]) -> int:
    """Return how many samples a feed holds: the first size that all its arrays share, or one."""
    sizes = {array.shape[0] if array.ndim else 1 for array in inputs}
    return sizes.pop() if len(sizes) == 1 else 1


def ends_of(graph: gs.Graph, names: Sequence[str]) -> dict[str, Ends]:
    """Return the ends of the tensors of which readers do not tell all values apart."""
    context, wanted = Context(graph), set(names)
    found: dict[str, Ends] = {}
    for scope in scopes(graph):
        view = context.view(scope)
        tensors = {t.name: t for node in scope.nodes for t in node.inputs if t.name in wanted}
        fresh = tensors.keys() - found.keys()
        found |= {name: flat_ends(tensors[name], view) for name in tensors if name in fresh}
    return {name: ends for name, ends in found.items() if np.isfinite(ends).any()}


def make_observer(
    method: Method = "min-max",
    form: IntegerFormat = UINT8,
    *,
    symmetric: bool = False,
    momentum: float = 0.99,
    percentile: float = 99.99,
    bins: int = 4096,
) -> Observer:
    """Return a fresh observer; the options are those of `calibrate`."""
    choices: dict[str, Callable[[], Observer]] = {
        "min-max": MinMax,
        "moving-average": lambda: MovingAverage(momentum),
        "percentile": lambda: Histogram(
            bins, lambda found: percentile_range(found, percentile, symmetric)
        ),
        "entropy": lambda: Histogram(bins, lambda found: entropy_range(found, form, symmetric)),
        "mse": lambda: Histogram(bins, lambda found: mse_range(found, form, symmetric)),
    }
    if method not in choices:
        raise PipelineError(f"calibration method '{method}' is none of {', '.join(METHODS)}")
    if not 0 <= momentum <= 1:
        raise PipelineError(f"momentum {momentum:g} is not between 0 and 1")
    if not 50 <= percentile <= 100:
        raise PipelineError(f"percentile {percentile:g} is not between 50 and 100")
    if bins < 2:
        raise PipelineError(f"{bins} bins cannot tell values apart; give 2 or more, such as 4096")
    return choices[method]()
