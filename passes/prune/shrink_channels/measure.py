"""How many channels a target likes: the same network at several roundings, timed side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import FeedError, PlanishError
from ....ir.graph.clone import clone
from ....ir.run.feeds import random_feeds
from ...analysis.cost import cost
from ...engine.context import Context
from ...engine.stopwatch import Stopwatch, find_stopwatch
from .plan import ShrinkPlan

MULTIPLES = (1, 8, 16)
_SECONDS = 1.0
# What runs in a fraction of a millisecond differs from run to run by more than any rounding.
_LEAST_MACS = 1_000_000
# Less is noise; of what is as fast as the fastest, the one with the fewest channels is taken.
_WORTHWHILE = 0.02


def choose_multiple(
    graph: gs.Graph,
    context: Context,
    exclude: Collection[str] = (),
    *,
    across_layernorm: bool = False,
) -> int | None:
    """Return what to round channels up to, or None where every cut is slower than none.

    1 where the target cannot be timed, or the network is too small to tell. The choice is remarked
    as the options that replay it.
    """
    target = context.target
    stopwatch = find_stopwatch(target)
    if stopwatch is None:
        context.remark(f"latency was not measured: no backend times target '{target}'")
        return 1
    try:
        feed = _feed(graph, context)
    except FeedError as error:
        context.remark(f"latency was not measured: {error}")
        return 1
    if cost(graph).macs < _LEAST_MACS:
        return 1
    variants = _variants(graph, context, exclude, across_layernorm)
    try:
        uncut, *times = _seconds(stopwatch, [graph, *variants.values()], feed, context)
    except PlanishError as error:
        context.remark(f"latency was not measured: {error}")
        return 1
    # Fewest channels first.
    seconds = dict(zip(variants, times, strict=True))
    bound = (1 + _WORTHWHILE) * min(uncut, *times)
    chosen = next((multiple for multiple, time in seconds.items() if time <= bound), None)
    if chosen is None:
        least = min(times) / uncut
        context.remark(
            f"nothing is cut: the fastest cut takes {least:.2f} times as long on {target} "
            f"(multiple={min(seconds, key=lambda m: seconds[m])},measure=false cuts anyway)",
            idle=True,
        )
    else:
        context.remark(
            f"{uncut / seconds[chosen]:.2f} times as fast on {target}; "
            f"multiple={chosen},measure=false cuts the same"
        )
    return chosen


def _variants(
    graph: gs.Graph, context: Context, exclude: Collection[str], across_layernorm: bool
) -> dict[int, gs.Graph]:
    """Return the graph cut at each rounding that differs from those before it."""
    found: dict[int, gs.Graph] = {}
    counts: set[int] = set()
    for multiple in MULTIPLES:
        copy = clone(graph)
        inner = context.on(copy).quietly()
        plan = ShrinkPlan(copy, inner, exclude, across_layernorm=across_layernorm)
        count = plan.removable(multiple)
        if count and count not in counts:
            counts.add(count)
            with inner.editing() as edit:
                plan.cut(edit, multiple)
            found[multiple] = copy
    return found


def _feed(graph: gs.Graph, context: Context) -> Mapping[str, np.ndarray[Any, Any]]:
    if context.feeds is not None:
        for feed in context.feeds:
            return feed
    return random_feeds(graph, seed=context.seed)[0]


def _seconds(
    stopwatch: Stopwatch,
    graphs: list[gs.Graph],
    feed: Mapping[str, np.ndarray[Any, Any]],
    context: Context,
) -> list[float]:
    seconds = _SECONDS * len(graphs)
    return stopwatch(graphs, feed, context.target, seconds=seconds, seed=context.seed)
