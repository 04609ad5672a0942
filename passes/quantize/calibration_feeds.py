"""The samples that quantization looks at."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...ir.run.feeds import random_feeds
from ..engine.context import Context, Feeds

_DRAWN = 8


def calibration_feeds(graph: gs.Graph, context: Context) -> Feeds:
    """Return the feeds of the run, or drawn ones with a remark that they say little.

    Raises FeedError for a graph whose inputs cannot be drawn.
    """
    if context.feeds is not None:
        return context.feeds
    context.remark(
        f"no feeds were given, so ranges come from {_DRAWN} inputs of random numbers; accuracy on "
        "real data is unknown, give feeds with real samples"
    )
    return random_feeds(graph, samples=_DRAWN, seed=context.seed)
