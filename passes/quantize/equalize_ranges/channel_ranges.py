"""What channels were seen to be over the feeds: least, largest, and mean square."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...analysis.channels.cells import Array
from ...analysis.observe.capture import stream_tensors
from ...engine.context import Feeds
from .channel_tensor import ChannelTensor


@dataclass
class ChannelRanges:
    """Least and largest value (0 included) and sum of squares of each channel, float64 [C]."""

    low: Array
    high: Array
    squares: Array
    count: int = 0

    @property
    def power(self) -> Array:
        """Mean square of each channel."""
        return self.squares / max(self.count, 1)

    def add(self, values: Array, axis: int) -> None:
        """Take in one tensor."""
        others = tuple(i for i in range(values.ndim) if i != axis)
        if not values.size:
            return
        np.minimum(self.low, values.min(axis=others), out=self.low)
        np.maximum(self.high, values.max(axis=others), out=self.high)
        self.squares += np.sum(np.square(values, dtype=np.float64), axis=others)
        self.count += values.size // len(self.low)


def observe_channels(
    graph: gs.Graph,
    tensors: Sequence[ChannelTensor],
    feeds: Feeds,
    progress: Callable[[float], None],
) -> dict[str, ChannelRanges]:
    """Run `graph` over `feeds` and return what the channels of `tensors` were, by tensor name."""
    axes = {carried.tensor.name: carried.axis for carried in tensors}
    seen = {c.tensor.name: ChannelRanges(*np.zeros((3, len(c.cells)))) for c in tensors}
    for found in stream_tensors(graph, list(axes), feeds, progress):
        for name, axis in axes.items():
            seen[name].add(found[name], axis)
    return seen
