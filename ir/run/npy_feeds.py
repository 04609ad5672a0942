"""One array of an `.npy` file as feeds of a network with one input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core.counted import counted
from ..core.errors import FeedError
from ..core.shown import Shown, Summary
from .feeds import Feed


@dataclass(frozen=True, repr=False)
class NpyFeeds(Shown):
    """The rows of the array in `path`, mapped into memory, in batches of the input `name`."""

    path: Path
    name: str
    batch: int
    samples: int
    single: bool

    def _summary(self) -> Summary:
        samples = counted(self.samples, "sample")
        return Summary(f"{samples} -> {self.name}, batch {self.batch}, of '{self.path}'")

    def __len__(self) -> int:
        return -(-self.samples // self.batch)

    def __iter__(self) -> Iterator[Feed]:
        array = read_npy(self.path)
        rows = array[None] if self.single else array
        for first in range(0, self.samples, self.batch):
            yield {self.name: np.ascontiguousarray(rows[first : first + self.batch])}


def read_npy(path: Path) -> np.ndarray[Any, Any]:
    """Return the array of a file, mapped; raises FeedError where it holds none."""
    try:
        found: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FeedError(
            f"feeds '{path}' cannot be read as .npy: {error}; write them with numpy.save"
        ) from error
    return found


def the_input(graph: gs.Graph, path: Path) -> gs.Variable:
    """Return the one input of `graph`; raises FeedError where there are others."""
    inputs = [t for t in graph.inputs if isinstance(t, gs.Variable)]
    if len(inputs) != 1:
        raise FeedError(
            f"'{path}' holds one array, and the graph has the inputs "
            f"{', '.join(t.name for t in inputs) or 'none'}; give an .npz file with one of each"
        )
    return inputs[0]
