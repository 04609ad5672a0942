"""What a search begins with: the model as a file, and feeds apart to learn from and to judge by."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.errors import FeedError
from ...ir.files.save import save
from ...passes.engine.context import Feeds
from ..trials.stored_feeds import store_feeds
from .survey import Given

# Every fourth feed judges. Of fewer than so many, all do both.
_JUDGING = 4
_LEAST = 8


@dataclass(frozen=True)
class Parted:
    """The files of a search, and how many feeds are learned from and judged by."""

    given: Given
    learn: int
    judge: int
    apart: bool


def begin(graph: gs.Graph, feeds: Feeds | None, folder: Path) -> Parted:
    """Write `graph` and `feeds` into `folder`. Raises FeedError where there are none."""
    if feeds is None:
        raise FeedError(
            "a search learns from real samples and judges by them, and there are no feeds; give "
            "some hundred with --feeds"
        )
    folder.mkdir(parents=True, exist_ok=True)
    held_back = folder / "judge.zip"
    given = Given(model=folder / "given.onnx", learn=folder / "learn.zip", judge=held_back)
    save(graph, given.model)
    count = sum(1 for _ in feeds)
    if not count:
        raise FeedError("there are no feeds to search by; give some hundred samples")
    apart = count >= _LEAST
    judge = store_feeds(_some(feeds, lambda i: not apart or i % _JUDGING == 0), held_back)
    learn = store_feeds(_some(feeds, lambda i: not apart or i % _JUDGING != 0), given.learn)
    return Parted(given, learn, judge, apart)


def _some(feeds: Feeds, takes: Any) -> Iterator[Mapping[str, np.ndarray[Any, Any]]]:
    return itertools.compress(feeds, (takes(i) for i in itertools.count()))
