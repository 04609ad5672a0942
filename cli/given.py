"""The model that a command is given, as it is to be: its weights frozen, its inputs sized."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..ir.graph.freeze import freeze_initializers, frozen_line, list_initializers
from ..ir.run.feed_files import names_in
from ..passes.engine.context import Feeds
from ..passes.pipeline.pipeline import Pipeline
from .feeds import FeedOptions
from .files import load, model_file
from .show.console import print_plain, warn

Drawn = Mapping[str, Sequence[int]] | None


@dataclass
class WatchedFeeds:
    """`feeds`, and whether anybody has `read` them: with verification off nobody may have."""

    feeds: Feeds
    read: bool = False

    def __iter__(self) -> Iterator[Mapping[str, np.ndarray[Any, Any]]]:
        self.read = True
        yield from self.feeds

    def __length_hint__(self) -> int:
        return operator.length_hint(self.feeds)


def warn_unread(data: Feeds | None, given: FeedOptions) -> None:
    """Warn where samples that a person gave were not read."""
    if isinstance(data, WatchedFeeds) and not data.read and given.feeds is not None:
        warn(f"--feeds '{given.feeds}' was not read: no pass needs it, and nothing is compared")


def given_model(
    path: Path,
    input_shape: Sequence[str] | None = None,
    *,
    mutable: bool = False,
    feeds: Path | None = None,
    tell: Callable[[str], None] = print_plain,
    lazily: bool = False,
) -> gs.Graph:
    """Return the model at `path` with its inputs as `input_shape` has them, and tell what changed.

    Weights that are also graph inputs become constants, but where `mutable`, or where `feeds` give
    them. `lazily`: large weights stay in the file until they are asked for. Raises LoadError, and
    RefusedError where the sizes cannot be set.
    """
    graph = load(path, lazily=lazily)
    old = list_initializers(graph)
    frozen = () if mutable else freeze_initializers(graph, names_in(feeds))
    if frozen:
        tell(f"{path}: {frozen_line(len(frozen), '--mutable-initializers', old=old)}")
    if not input_shape:
        return graph
    from ..passes.interface.set_shapes import set_shapes  # of many modules

    sized, told = set_shapes(graph, input_shape)
    for line in told or ("the inputs have these sizes already",):
        tell(line)
    return sized


def given_for(
    steps: Pipeline,
    path: Path,
    given: FeedOptions,
    input_shape: Sequence[str] | None,
    *,
    mutable: bool,
    seed: int,
    tell: Callable[[str], None],
    lazily: bool = False,
) -> tuple[gs.Graph, Feeds | None, Drawn]:
    """Return the model at `path` and the feeds for what `steps` begin with, as `given_model` does.

    The feeds are None where verification is to draw them. The third are the shapes of inputs that
    are drawn, by name; None where there are feeds.
    """
    graph = given_model(
        path, input_shape, mutable=mutable, feeds=given.feeds, tell=tell, lazily=lazily
    )
    network = steps.behind_interface(graph)
    data = given.data(network, seed, steps.extra_feeds(), tell, model_file(path))
    return graph, data if data is None else WatchedFeeds(data), given.drawn(network)
