"""The options of a command that is given feeds, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import onnx_graphsurgeon as gs
import typer

from ..ir.core.errors import FeedError
from ..ir.core.shown import one_line
from ..ir.core.user_function import load_function, names_function
from ..ir.run.describe_feeds import described, scale_doubts, seen_values
from ..ir.run.feed_files import is_of_images, load_feeds
from ..ir.run.feeds import check_shapes, drawn_shapes, random_feeds
from ..ir.run.image_processor import NAME as PROCESSOR
from ..ir.run.image_processor import read_processor
from ..ir.run.preprocessing import PRESETS, Preprocessing, Resize, preset
from ..passes.engine.context import Feeds
from .option_groups import takes_group
from .show.console import print_plain, warn


@dataclass(frozen=True, kw_only=True)
class FeedOptions:
    """The options as they were written; see `--help`."""

    feeds: Annotated[
        Path | None,
        typer.Option(
            help="An .npz or .npy (first axis = samples), an image or a folder of them; default: "
            "random.",
        ),
    ] = None
    shape: Annotated[
        list[str] | None,
        typer.Option(
            help="Sizes of random feeds alone, `input=1,3,224,224`; those of the model stay open.",
        ),
    ] = None
    preprocess: Annotated[
        str | None,
        typer.Option(
            help=f"Images: {' or '.join(PRESETS)}, or your own FILE.py:function; other options "
            "come on top.",
        ),
    ] = None
    pixels: Annotated[
        str | None,
        typer.Option(help="Images: what black and white become; default 0..1."),
    ] = None
    mean: Annotated[
        str | None,
        typer.Option(
            help="Images: subtracted from these pixels; one value or one a channel, 1/255 too.",
        ),
    ] = None
    std: Annotated[
        str | None,
        typer.Option(help="Images: what divides them then; one value or one a channel."),
    ] = None
    bgr: Annotated[
        bool, typer.Option("--bgr", help="Images: blue first, as OpenCV reads; default: red first.")
    ] = False
    resize: Annotated[
        str | None,
        typer.Option(help="Images: squash (the default), crop or letterbox."),
    ] = None
    size: Annotated[
        str | None,
        typer.Option(help="Images: height x width, 480x640, where the model leaves it open."),
    ] = None

    def data(
        self,
        graph: gs.Graph,
        seed: int,
        extra: Collection[str] = (),
        tell: Callable[[str], None] = print_plain,
        model: Path | None = None,
    ) -> Feeds | None:
        """Return the feeds for `graph`, and tell in a line what they are.

        Where nothing else is said of images, the file beside `model` does that Transformers writes.
        None lets verification draw them, or say why it cannot. `extra` are entries that are no
        inputs of the graph, such as labels. Raises FeedError for an option that fits nothing.
        """
        self.refuse_ignored(graph)
        if self.feeds is None and extra:
            raise FeedError(
                f"'{', '.join(sorted(extra))}' is to be read from the feeds, and inputs are drawn; "
                "give --feeds that have it, or leave it out"
            )
        if self.feeds is None:
            shapes = read_shapes(self.shape or ())
            _tell_drawn(graph, shapes, tell)
            return random_feeds(graph, seed=seed, shapes=shapes) if shapes else None
        steps = self._preprocessing(model) if is_of_images(self.feeds) else None
        self._refuse_scaled(graph, steps)
        found = load_feeds(self.feeds, graph, extra=extra, preprocessing=steps)
        seen = seen_values(found)
        tell(described(found, seen, self.feeds))
        for doubt in scale_doubts(found, seen, graph):
            warn(doubt)
        return found

    def drawn(self, graph: gs.Graph) -> dict[str, tuple[int, ...]] | None:
        """Return the shapes of the inputs that are drawn for `graph`; None where there are feeds.

        They are empty where none can be drawn.
        """
        return None if self.feeds is not None else _drawn(graph, read_shapes(self.shape or ()))

    def refuse_ignored(self, graph: gs.Graph) -> None:
        """Raise FeedError for an option that would change nothing."""
        if self.feeds is not None and self.shape:
            check_shapes(read_shapes(self.shape), graph)
            raise FeedError(
                f"--shape is the size of random inputs, and --feeds '{self.feeds}' has real ones; "
                "leave one of them out"
            )
        given = [name for name in _OF_IMAGES if getattr(self, name) not in (None, False)]
        missing = self.feeds is not None and not self.feeds.exists()
        if not given or missing or (self.feeds is not None and is_of_images(self.feeds)):
            return
        what = "inputs are drawn" if self.feeds is None else f"'{self.feeds}' holds none"
        raise FeedError(
            f"--{given[0]} scales images, and {what}; give --feeds FOLDER, or leave it out"
        )

    def _refuse_scaled(self, graph: gs.Graph, steps: Preprocessing | None) -> None:
        """Raise FeedError for an option that scales pixels which the network takes as they are."""
        bytes_in = [tensor for tensor in graph.inputs if tensor.dtype == np.uint8]
        if steps is None or steps.function is not None or not bytes_in:
            return
        given = [name for name in ("pixels", "mean", "std") if getattr(self, name) is not None]
        if not given and not steps.keeps_bytes:
            given = ["preprocess"]
        if given == ["pixels"] and steps.pixels == (0.0, 255.0) and not self.preprocess:
            return
        if given:
            raise FeedError(
                f"input '{bytes_in[0].name}' takes pixels as they are, 0..255; leave "
                f"{' and '.join(f'--{name}' for name in given)} out"
            )

    def _preprocessing(self, model: Path | None) -> Preprocessing:
        own = self.preprocess is not None and names_function(self.preprocess)
        if own:
            others = [n for n in _OF_IMAGES[1:] if getattr(self, n) not in (None, False)]
            if [name for name in others if name != "size"]:
                raise FeedError(
                    f"--preprocess {self.preprocess} does all of it; leave --{others[0]} out"
                )
            function = load_function(str(self.preprocess), "--preprocess")
            steps = Preprocessing(function=function)
        else:
            steps = self._of(model) if self.preprocess is None else preset(self.preprocess)
        changes: dict[str, Any] = {"bgr": True} if self.bgr else {}
        if self.pixels is not None:
            changes["pixels"] = _span(self.pixels)
        for name in ("mean", "std"):
            text = getattr(self, name)
            if text is not None:
                changes[name] = tuple(_numbers(text, f"--{name}"))
        if self.resize is not None:
            changes["resize"] = cast(Resize, self.resize)
        if self.size is not None:
            changes["size"] = _size(self.size)
        return replace(steps, **changes)

    def _of(self, model: Path | None) -> Preprocessing:
        """Return what the file beside `model` says, if there is one and no option says it all."""
        file = None if model is None else model.parent / PROCESSOR
        if file is not None and not file.is_file() and model is not None:
            file = model.parent.parent / PROCESSOR if model.parent.name == "onnx" else file
        own = (self.pixels, self.mean, self.std, self.resize)
        if file is None or not file.is_file() or any(text is not None for text in own):
            return Preprocessing()
        steps, otherwise = read_processor(file)
        if otherwise:
            warn(f"{otherwise}, as '{file}' says")
        return steps


_OF_IMAGES = ("preprocess", "pixels", "mean", "std", "bgr", "resize", "size")
NO_FEEDS = FeedOptions()


# A command's parameter `given` is the options of `FeedOptions` on its line.
takes_feeds = takes_group("given", FeedOptions)


def _tell_drawn(
    graph: gs.Graph, shapes: Mapping[str, list[int]], tell: Callable[[str], None]
) -> None:
    found = _drawn(graph, shapes)
    texts = [f"{one_line(name)} [{','.join(map(str, shape))}]" for name, shape in found.items()]
    if texts:
        tell(f"random inputs -> {', '.join(texts)}")


def _drawn(graph: gs.Graph, shapes: Mapping[str, list[int]]) -> dict[str, tuple[int, ...]]:
    try:
        return drawn_shapes(graph, shapes=shapes)
    except FeedError:
        return {}  # which verification says


def read_shapes(items: Iterable[str]) -> dict[str, list[int]]:
    """Return shapes by name, of `name=1,3,224,224`; raises FeedError where it is none."""
    return dict(
        assignment(item, lambda text: [int(size) for size in text.split(",")]) for item in items
    )


def with_batch(
    graph: gs.Graph, batch: int | None, shapes: Iterable[str] | None
) -> dict[str, list[int]]:
    """Return the shapes to draw, with the first axis set to `batch`."""
    given = read_shapes(shapes or ())
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


def _numbers(text: str, option: str) -> list[float]:
    """Return the numbers of a text, of which some may be fractions: `1/255`."""
    try:
        found = [_number(part) for part in text.split(",")]
    except (ValueError, ZeroDivisionError):
        found = []
    if len(found) not in (1, 3) or not all(math.isfinite(number) for number in found):
        raise FeedError(f"{option} is '{text}', not a number or three numbers joined by commas")
    if option == "--std" and 0 in found:
        raise FeedError(f"--std is '{text}', and images cannot be divided by 0; give 1 for none")
    return found


def _number(text: str) -> float:
    above, mark, below = text.partition("/")
    return float(above) / float(below) if mark else float(above)


def _span(text: str) -> tuple[float, float]:
    low, _, high = text.partition("..")
    try:
        found = float(low), float(high)
    except ValueError:
        found = math.nan, math.nan
    if not all(map(math.isfinite, found)):
        raise FeedError(f"--pixels is '{text}'; give 0..1, 0..255 or -1..1")
    return found


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(
        part.isascii() and part.isdecimal() and int(part) for part in parts
    ):
        raise FeedError(f"--size is '{text}'; give one number, or height x width, 480x640")
    return int(parts[0]), int(parts[-1])
