"""A model as it is in its file, with the samples on which a fault may show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx

from ..ir.core.errors import LoadError
from ..tools.reduce.case import Case
from .feeds import FeedOptions
from .files import load

_MOST_FEEDS = 8


def cases_of(path: Path, given: FeedOptions, seed: int, tell: Callable[[str], None]) -> list[Case]:
    """Return the model at `path` with each of the first eight samples, or without one.

    Raises LoadError and FeedError.
    """
    if given.feeds is None and not given.shape:
        return [Case(_read(path))]
    graph = load(path)
    data = given.data(graph, seed, (), tell, path)
    model = _read(path)
    feeds = [feed for feed, _ in zip(data or (), range(_MOST_FEEDS), strict=False)]
    return [Case(model, dict(feed)) for feed in feeds] or [Case(model)]


def _read(path: Path) -> onnx.ModelProto:
    """Return the model as it is in its file, which planish's own reader may not take."""
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's own
        reason = getattr(error, "strerror", None) or "it is no ONNX model"
        raise LoadError(f"cannot read '{path}': {reason}; name an ONNX file") from error
