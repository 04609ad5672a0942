"""Options that several commands share, and what their text means."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import onnx_graphsurgeon as gs
import typer

from ..ir.core.errors import FeedError
from ..ir.run.feed_files import load_feeds
from ..ir.run.feeds import random_feeds
from ..passes.engine.context import Feeds


class Verify(StrEnum):
    """When outputs are compared with those of the original."""

    each = "each"
    end = "end"
    off = "off"


ModelFile = Annotated[Path, typer.Argument(help="An ONNX file.", show_default=False)]
FeedsOption = Annotated[
    Path | None,
    typer.Option(help="An .npz (first axis = samples) or a folder of images; default: random."),
]
PipelineOption = Annotated[
    str, typer.Option("-p", "--pipeline", help="Passes and presets; see `planish passes`.")
]
OutOption = Annotated[
    Path, typer.Option("-o", "--output", help="Where to write.", show_default=False)
]
SeedOption = Annotated[int, typer.Option(help="Seed of every random choice.")]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--shape", help="Size of a random input, `input=1,3,224,224`; repeat for several."
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Threads for one operator; default: the backend's.")
]
TuneTrialsOption = Annotated[
    int | None,
    typer.Option(min=0, help="Kernels to measure for each operator; 0: only what is cached."),
]
TuneCacheOption = Annotated[
    Path | None, typer.Option(help="Where measurements are kept; default: PLANISH_CACHE.")
]
TuneRemoteOption = Annotated[
    str | None, typer.Option(help="Measure on a device of an RPC tracker, `host:port/key`.")
]
WinogradOption = Annotated[
    bool | None,
    typer.Option(
        "--winograd/--no-winograd",
        help="TVM: convolutions of 3 and 5 taps as Winograd's, where faster (the default).",
    ),
]
MeanOption = Annotated[
    str, typer.Option("--mean", help="Subtracted from images scaled to 0..1; one value or three.")
]
StdOption = Annotated[
    str, typer.Option("--std", help="Images are divided by it; one value or three.")
]


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
    if path is not None:
        scale = _numbers(std)
        if 0 in scale:
            raise FeedError(f"--std is '{std}', and images cannot be divided by 0; give 1 for none")
        return load_feeds(path, graph, mean=_numbers(mean), std=scale, extra=extra)
    if shapes:
        return random_feeds(graph, seed=seed, shapes=_shapes(shapes))
    return None


def given_options(**asked: Any) -> dict[str, Any]:
    """Return the options that were given on the command line: a backend knows its own only."""
    return {name: value for name, value in asked.items() if value is not None}


def tuning_options(
    trials: int | None,
    cache: Path | None,
    remote: str | None,
    seed: int,
    progress: Callable[[float, str], None],
) -> dict[str, Any]:
    """Return what a backend is told about tuning: nothing, where nothing is asked for."""
    given = given_options(tune_trials=trials, tune_cache=cache, tune_remote=remote)
    return {**given, "tune_seed": seed, "progress": progress} if given else {}


def is_main_process() -> bool:
    """Say whether this process shows and writes: of several under torchrun or accelerate, one."""
    return os.environ.get("RANK", "0") == "0"


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
