"""What channels were seen to be over the feeds: their ends and mean square."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import onnx_graphsurgeon as gs

from ...analysis.channels.cells import Array
from ...analysis.observe.capture import stream_tensors
from ...engine.context import Feeds
from ..extremes import Extremes
from .channel_tensor import ChannelTensor


@dataclass(kw_only=True)
class ChannelRanges:
    """Least and largest value (0 included) and sum of squares of `channels` channels, float64 [C].

    `extremes`: the outermost values, by part of the feeds.
    """

    channels: int
    count: int = 0
    low: Array = field(init=False)
    high: Array = field(init=False)
    squares: Array = field(init=False)
    extremes: Extremes = field(init=False)

    def __post_init__(self) -> None:
        self.low, self.high, self.squares = np.zeros((3, self.channels))
        self.extremes = Extremes(self.channels)

    @property
    def power(self) -> Array:
        """Mean square of each channel."""
        return self.squares / max(self.count, 1)

    def add(self, values: Array, axis: int) -> None:
        """Take in one tensor, whose samples lie along axis 0 where that is not `axis`."""
        if not values.size:
            return
        for sample in np.moveaxis(values, axis, 1) if axis else [values]:
            rows = sample.reshape(self.channels, -1)
            np.minimum(self.low, rows.min(axis=1), out=self.low)
            np.maximum(self.high, rows.max(axis=1), out=self.high)
            self.squares += np.sum(np.square(rows, dtype=np.float64), axis=1)
            self.count += rows.shape[1]
            self.extremes.add(rows)


def observe_channels(
    graph: gs.Graph,
    tensors: Sequence[ChannelTensor],
    feeds: Feeds,
    progress: Callable[[float], None],
    ends: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> dict[str, ChannelRanges]:
    """Run `graph` over `feeds` and return what the channels of `tensors` were, by tensor name.

    `ends`: of tensors whose values beyond them count as the nearest end.
    """
    axes = {carried.tensor.name: carried.axis for carried in tensors}
    seen = {c.tensor.name: ChannelRanges(channels=len(c.cells)) for c in tensors}
    for found in stream_tensors(graph, list(axes), feeds, progress):
        for name, axis in axes.items():
            values = np.clip(found[name], *ends[name]) if name in ends else found[name]
            seen[name].add(values, axis)
    return seen
