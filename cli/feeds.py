"""Feeds and sizes as they are written on the command line."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx_graphsurgeon as gs

from ..ir.core.errors import FeedError
from ..ir.run.feed_files import load_feeds
from ..ir.run.feeds import check_shapes, random_feeds
from ..passes.engine.context import Feeds


def feeds_of(
    graph: gs.Graph,
    path: Path | None,
    shapes: Iterable[str] | None,
    mean: str,
    std: str,
    seed: int,
    extra: Collection[str] = (),
) -> Feeds | None:
    """Return the feeds to verify on; None lets verification draw them, or say why it cannot.

    `extra` are entries that are no inputs of the graph, such as labels.
    """
    _refuse_ignored(graph, path, shapes, {"--mean": mean != "0", "--std": std != "1"})
    if path is not None:
        scale = _numbers(std)
        if 0 in scale:
            raise FeedError(f"--std is '{std}', and images cannot be divided by 0; give 1 for none")
        return load_feeds(path, graph, mean=_numbers(mean), std=scale, extra=extra)
    if shapes:
        return random_feeds(graph, seed=seed, shapes=_shapes(shapes))
    return None


def _refuse_ignored(
    graph: gs.Graph, path: Path | None, shapes: Iterable[str] | None, scaling: Mapping[str, bool]
) -> None:
    """Raise FeedError for an option that would change nothing."""
    if path is not None and shapes:
        check_shapes(_shapes(shapes), graph)
        raise FeedError(
            f"--shape is the size of random inputs, and --feeds '{path}' has real ones; leave one "
            "of them out"
        )
    given = [option for option, is_given in scaling.items() if is_given]
    if given and (path is None or path.is_file()):
        what = "inputs are drawn" if path is None else f"'{path}' holds none"
        raise FeedError(
            f"{given[0]} scales images, and {what}; give --feeds FOLDER, or leave it out"
        )


def _shapes(items: Iterable[str]) -> dict[str, list[int]]:
    return dict(
        assignment(item, lambda text: [int(size) for size in text.split(",")]) for item in items
    )


def with_batch(
    graph: gs.Graph, batch: int | None, shapes: Iterable[str] | None
) -> dict[str, list[int]]:
    """Return the shapes to draw, with the first axis set to `batch`."""
    given = _shapes(shapes or ())
    if batch is None:
        return given
    drawn = random_feeds(graph, shapes=given)[0]
    return {name: [batch, *array.shape[1:]] for name, array in drawn.items() if array.ndim}


def assignment(item: str, convert: Any) -> tuple[str, Any]:
    """Return name and converted value of `name=value`; raises FeedError where it is not one."""
    name, equals, text = item.rpartition("=")
    try:
        if equals:
            return name, convert(text)
    except ValueError:
        pass
    raise FeedError(f"'{item}' is not of the form name=number or name=1,3,224,224")


def _numbers(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) not in (1, 3) or not all(math.isfinite(number) for number in found):
        raise FeedError(f"'{text}' is not a number or three numbers joined by commas")
    return found
