"""Which tensors come near the largest value of a narrow float."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import ExecutionError, FeedError
from ....ir.run.feeds import random_feeds
from ...analysis.observe.capture import TensorCapture
from ...engine.context import Context, Feeds
from .narrow import largest

_MOST_FEEDS = 64
# Other inputs than those looked at largest_seen somewhat further.
_MARGIN = 0.5


def find_overflowing(graph: gs.Graph, context: Context, dtype: np.dtype[Any]) -> dict[int, float]:
    """Return by id the magnitude of each float32 tensor that passes half the range on the feeds.

    At most 64 feeds are looked at; infinity, which every float has, does not count. Without feeds
    one of random numbers shows what leaves the range whatever is fed; what cannot be run shows
    nothing.
    """
    if context.feeds is not None:
        return _magnitudes(graph, context, context.feeds, dtype)
    try:
        found = _magnitudes(graph, context, random_feeds(graph, seed=context.seed), dtype)
    except (ExecutionError, FeedError):
        return {}
    if found:
        context.remark(
            "no feeds were given, so random numbers show what leaves the range of "
            f"{dtype.name}; give feeds with real samples"
        )
    return found


def _magnitudes(
    graph: gs.Graph, context: Context, feeds: Feeds, dtype: np.dtype[Any]
) -> dict[int, float]:
    view = context.view()
    made = [t for node in graph.nodes for t in node.outputs if t.name]
    tensors = {t.name: t for t in (*graph.inputs, *made) if view.dtype(t) == np.float32}
    capture = TensorCapture(graph, list(tensors))
    found: dict[int, float] = {}
    for feed in itertools.islice(feeds, _MOST_FEEDS):
        for name, array in capture(feed).items():
            largest_seen = float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
            if largest_seen > _MARGIN * largest(dtype):
                found[id(tensors[name])] = max(largest_seen, found.get(id(tensors[name]), 0.0))
    return found
