"""Samples of feeds, one by one, however they were batched; on the disk, in a random order.

The last ones, `held_out`, are never trained on: they judge. Sample i of everything that is kept of
the samples (inputs, features, targets) stands at index i, so that minibatches are drawn by index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.errors import FeedError
from .....ir.run.feeds import batch_size, check_feeds
from ....engine.context import Feeds
from .sample_store import Array, Arrays, SampleStore

_HELD_OUT = 8  # one of so many samples
_CHUNK_BYTES = 1 << 22
_CHUNK = 32


class Samples:
    """The samples of feeds for a graph: `order[:trained]` to train on, the rest to judge by.

    One of `share` judges. `unit`: the batch size that the graph is fixed to, 1 where it is dynamic;
    `order` keeps whole units. Raises FeedError where feeds do not fit the graph, or have no batch
    axis.
    """

    def __init__(
        self,
        graph: gs.Graph,
        feeds: Feeds,
        extra: Sequence[str],
        seed: int,
        *,
        share: int = _HELD_OUT,
    ) -> None:
        self.inputs = [t.name for t in graph.inputs if not isinstance(t, gs.Constant)]
        self.store = SampleStore()
        fixed = batch_size(graph)
        try:
            for index, feed in enumerate(feeds):
                self._add(graph, index, feed, extra)
        except BaseException:
            self.close()
            raise
        names = self.store.names
        self.count = len(self.store[names[0]]) if names else 0
        if not self.count:
            raise FeedError("there are no feeds to learn from; give at least one sample")
        self.fixed = fixed
        self.unit = fixed or 1
        units = self.count // self.unit
        held = max(1, units // share) if units > 1 else 0
        shuffled = np.random.default_rng([seed, 1]).permutation(units)
        offsets = shuffled[:, None] * self.unit + np.arange(self.unit)
        self.order = offsets.reshape(-1)
        self.trained = (units - held) * self.unit
        size = sum(self.store[name][:1].nbytes for name in self.inputs)
        self.chunk = fixed or max(1, min(_CHUNK, _CHUNK_BYTES // max(size, 1)))

    def _add(
        self, graph: gs.Graph, index: int, feed: Mapping[str, Array], extra: Sequence[str]
    ) -> None:
        given = {name: array for name, array in feed.items() if name not in extra}
        check_feeds(given, graph)
        sizes = {name: array.shape[0] if array.ndim else None for name, array in feed.items()}
        if len(set(sizes.values())) != 1 or None in sizes.values():
            shown = ", ".join(f"'{n}' {list(np.shape(a))}" for n, a in feed.items())
            raise FeedError(
                f"batch {index} of the feeds has no common first axis: {shown}; training takes "
                "samples apart, which must lie along the first axis of every input"
            )
        self.store.append(feed)

    def __enter__(self) -> Samples:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the disk back."""
        self.store.__exit__()

    @property
    def held_out(self) -> Array:
        """Indices of the samples that judge; those trained on where there are no others."""
        held = np.arange(self.trained, self.count // self.unit * self.unit)
        return held if len(held) else np.arange(self.trained)

    def at(self, index: Array, names: Sequence[str] | None = None) -> Arrays:
        """Return inputs (or the entries `names`) of the samples at `index`."""
        return self.store.take(self.inputs if names is None else names, self.order[index])

    def chunks(self) -> list[Array]:
        """Return the indices of all samples in runs that the graph takes; none mixes the parts."""
        return [*self._runs(0, self.trained), *self._runs(self.trained, len(self.order))]

    def runs(self, index: Array) -> Iterator[Array]:
        """Yield consecutive parts of `index` of a size that the graph takes."""
        for start in range(0, len(index), self.chunk):
            yield index[start : start + self.chunk]

    def _runs(self, start: int, end: int) -> list[Array]:
        return list(self.runs(np.arange(start, end)))

    def digest(self) -> str:
        """Return a hash of all samples."""
        found = hashlib.sha256()
        for name in sorted(self.store.names):
            found.update(f"{name} {self.store[name].dtype} {self.store[name].shape}".encode())
            found.update(self.store[name].reshape(-1).view(np.uint8).data)
        return found.hexdigest()

    def feeds(self) -> _ChunkFeeds:
        """Return the samples in order as feeds, one a chunk."""
        return _ChunkFeeds(self)


class _ChunkFeeds:
    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __iter__(self) -> Iterator[Arrays]:
        for index in self._samples.chunks():
            yield self._samples.at(index)

    def __len__(self) -> int:
        return len(self._samples.chunks())
