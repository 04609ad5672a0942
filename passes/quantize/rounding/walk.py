"""A walk over a graph for its inner tensors, stage by stage, that does not start over each time.

After a stage, the tensors that later nodes read from what has been run are written to a temporary
file, sample by sample; the next stage goes on from there. A network of n stages so costs about one
run of the samples, not n / 2, and memory holds one sample. Where the file would grow too large, a
stage starts at the last one kept, the graph's inputs at worst.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.clone import clone
from ....ir.errors import FeedError
from ....ir.reference import Reference
from ...context import Feeds
from ..tap import Arrays, check_finite, names_read, nodes_reaching

_MOST_DISK = 2**32


@dataclass
class _Kept:
    """Tensors of every sample in a file: what nodes not yet run read of those that were."""

    names: frozenset[str]
    made: frozenset[str]  # by the nodes that were run
    file: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    layout: list[dict[str, tuple[int, np.dtype[Any], tuple[int, ...]]]] = field(
        default_factory=list
    )
    size: int = 0

    def write(self, arrays: Arrays) -> None:
        entry = {}
        self.file.seek(self.size)
        for name in sorted(self.names):
            array = np.ascontiguousarray(arrays[name])
            entry[name] = (self.size, array.dtype, array.shape)
            self.file.write(array.tobytes())
            self.size += array.nbytes
        self.layout.append(entry)

    def read(self, sample: int) -> Arrays:
        found = {}
        for name, (start, dtype, shape) in self.layout[sample].items():
            self.file.seek(start)
            raw = self.file.read(dtype.itemsize * math.prod(shape))
            found[name] = np.frombuffer(raw, dtype).reshape(shape)
        return found


class Walk:
    """Stages of `graph` over `feeds`, each stage later than the one before.

    The graph may change between stages, but for the nodes that earlier stages ran.
    """

    def __init__(self, graph: gs.Graph, feeds: Feeds) -> None:
        self._graph = graph
        self._feeds = feeds
        self._kept = _Kept(frozenset(), frozenset())

    def stage(
        self, names: Sequence[str], progress: Callable[[float], None] = lambda fraction: None
    ) -> Iterator[Arrays]:
        """Yield the tensors called `names`, feed by feed; then remember how far this came.

        Raises FeedError naming tensor and sample where one holds NaN or infinity.
        """
        kept = self._kept
        nodes = nodes_reaching(self._graph, names, kept.names)
        ahead = self._ahead(nodes, kept)
        made = {tensor.name for node in nodes for tensor in node.outputs}
        run: Reference | None = None
        total = len(self._feeds) if isinstance(self._feeds, Sequence) else None
        sample = -1
        for sample, feed in enumerate(self._feeds):
            known = kept.read(sample) if kept.layout else {}
            check_finite(feed, sample)
            if run is None and made:
                wanted = sorted(({*names} | ahead.names) & made)
                run = _part(self._graph, nodes, known, wanted)
            given = dict(feed) | known
            arrays = given | (run(given) if run else {})
            found = {name: arrays[name] for name in names}
            check_finite(found, sample)
            yield found
            if len(ahead.layout) == sample:
                ahead.write(arrays)
                if ahead.size * (total or 1) / (sample + 1) > _MOST_DISK:
                    ahead.layout.clear()
            progress((sample + 1) / (total or sample + 1))
        if sample < 0:
            raise FeedError("there are no feeds to calibrate on; give at least one sample")
        if ahead.layout:
            self._kept = ahead

    def _ahead(self, nodes: Sequence[gs.Node], kept: _Kept) -> _Kept:
        inputs = {tensor.name for tensor in self._graph.inputs}
        made = kept.made | {t.name for node in nodes for t in node.outputs if t.name}
        later: set[str] = set()
        for node in self._graph.nodes:
            if not any(tensor.name in made for tensor in node.outputs):
                later |= names_read(node)
        return _Kept(frozenset((later & made) - inputs), frozenset(made))


def _part(
    graph: gs.Graph, nodes: Sequence[gs.Node], known: Arrays, wanted: Sequence[str]
) -> Reference:
    """Return `nodes` of `graph`, ready to run from the graph's inputs and the arrays `known`."""
    copy = clone(graph)
    run = {id(node) for node in nodes}
    tensors = {tensor.name: tensor for node in copy.nodes for tensor in node.outputs}
    pairs = zip(copy.nodes, graph.nodes, strict=True)
    copy.nodes = [node for node, original in pairs if id(original) in run]
    for name, array in known.items():
        tensors[name].dtype, tensors[name].shape = array.dtype, None
        copy.inputs.append(tensors[name])
    copy.outputs = [tensors[name] for name in wanted]
    return Reference(copy, optimized=True)
