"""Whether what is given as feeds are samples at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core.errors import FeedError
from ..core.kind import kind_of


def require_feeds(feeds: Any, graph: gs.Graph) -> None:
    """Raise FeedError where `feeds` are one sample or no samples of `graph`."""
    first = next((tensor.name for tensor in graph.inputs), "x")
    how = f"write feeds=[{{'{first}': array}}]"
    if isinstance(feeds, Mapping):
        raise FeedError("feeds are a sequence of dicts, one a batch; write feeds=[...]")
    if isinstance(feeds, str | os.PathLike):
        raise FeedError("feeds are a path; write planish.load_feeds(path, graph)")
    if isinstance(feeds, np.ndarray):
        raise FeedError(f"feeds are one array; they are a sequence of dicts, one a batch: {how}")
    if feeds is not None and not isinstance(feeds, Iterable):
        raise FeedError(f"feeds are {kind_of(feeds)}; give a sequence of dicts, one a batch: {how}")
    if isinstance(feeds, list | tuple):
        odd = [feed for feed in feeds if not isinstance(feed, Mapping)]
        if odd:
            raise FeedError(f"a batch of the feeds is {kind_of(odd[0])}; give dicts: {how}")
