"""A model as it is in its file, with the samples on which a fault may show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx

from ..ir.core.errors import LoadError, PlanishError
from ..ir.core.whole_file import read_whole
from ..ir.files.load import load as load_model
from ..tools.reduce.case import Case
from .feeds import FeedOptions
from .files import STREAM, from_standard_input, load

_MOST_FEEDS = 8


def cases_of(path: Path, given: FeedOptions, seed: int, tell: Callable[[str], None]) -> list[Case]:
    """Return the model at `path` with each of the first eight samples, or without one.

    Raises LoadError and FeedError.
    """
    model = _read(path)
    if given.feeds is None and not given.shape:
        return [Case(model)]
    graph = load(path) if path.is_file() else load_model(model)  # a pipe is read once
    data = given.data(graph, seed, (), tell, path)
    feeds = [feed for feed, _ in zip(data or (), range(_MOST_FEEDS), strict=False)]
    return [Case(model, dict(feed)) for feed in feeds] or [Case(model)]


def _read(path: Path) -> onnx.ModelProto:
    """Return the model as it is in its file, which planish's own reader may not take."""
    try:
        if path == STREAM:
            return onnx.load_from_string(from_standard_input())
        return onnx.load(path) if path.is_file() else onnx.load_from_string(read_whole(path))
    except PlanishError:
        raise
    except Exception as error:  # protobuf's own
        reason = getattr(error, "strerror", None) or "it is no ONNX model"
        reason = str(error) if type(error) is ValueError else reason
        raise LoadError(f"cannot read '{path}': {reason}; name an ONNX file") from error
