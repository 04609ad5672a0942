"""Inner tensors of a graph captured stage by stage, without starting over each time.

After a stage, the tensors that later nodes read from what has been run are written to a temporary
file, sample by sample; the next stage goes on from there. A network of n stages so costs about one
run of the samples, not n / 2, and memory holds one sample. Where the file would grow too large for
the disk, or sequences or text are among them, a stage starts at the last one kept, the graph's
inputs at worst. The file has no name on the disk, and is gone when the capture is closed, or the
process ends in any way.
"""

from __future__ import annotations

import math
import operator
import shutil
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.build import make_variable
from ....ir.core.errors import FeedError
from ....ir.graph.backward_slice import backward_slice, names_read
from ....ir.graph.clone import clone
from ....ir.graph.uses import scopes
from ....ir.run.reference import Reference
from ...engine.context import Feeds
from .capture import Arrays, check_finite, held_values

# What one file may take; a capture has two while it goes on from one and writes the next.
_MOST_DISK = 2**30
_PART_OF_FREE = 8


@dataclass
class _LiveTensors:
    """Tensors of every sample in a file: what nodes not yet run read of those that were."""

    names: frozenset[str]
    made: frozenset[str]  # by the nodes that were run
    file: Any = field(default_factory=lambda: tempfile.TemporaryFile())  # noqa: SIM115 `close` does
    layout: list[dict[str, tuple[int, np.dtype[Any], tuple[int, ...]]]] = field(
        default_factory=list
    )
    size: int = 0

    def close(self) -> None:
        """Give the disk back."""
        self.layout.clear()
        self.file.close()

    def write(self, arrays: Arrays) -> None:
        entry = {}
        self.file.seek(self.size)
        for name in sorted(self.names):
            array = np.ascontiguousarray(arrays[name])
            entry[name] = (self.size, array.dtype, arrays[name].shape)
            self.file.write(array.reshape(-1).view(np.uint8).data)
            self.size += array.nbytes
        self.layout.append(entry)

    def read(self, sample: int) -> Arrays:
        found = {}
        for name, (start, dtype, shape) in self.layout[sample].items():
            self.file.seek(start)
            raw = np.empty(dtype.itemsize * math.prod(shape), np.uint8)
            self.file.readinto(raw.data)
            found[name] = raw.view(dtype).reshape(shape)
        return found


class StagedCapture:
    """Stages of `graph` over `feeds`, each stage later than the one before.

    The graph may change between stages, but for the nodes that earlier stages ran. `optimized`: by
    the runtime, whose integer kernels may saturate. To be used in a `with` statement, whose end
    gives the disk back.
    """

    def __init__(self, graph: gs.Graph, feeds: Feeds, *, optimized: bool = True) -> None:
        self._graph = graph
        self._optimized = optimized
        self._feeds = feeds
        self._kept = _LiveTensors(frozenset(), frozenset())
        self.samples = operator.length_hint(feeds) or sum(1 for _ in feeds)
        free = shutil.disk_usage(tempfile.gettempdir()).free
        self._most = min(_MOST_DISK, free // _PART_OF_FREE)

    def __enter__(self) -> StagedCapture:
        return self

    def __exit__(self, *error: object) -> None:
        self._kept.close()

    def stage(
        self, names: Sequence[str], progress: Callable[[float], None] = lambda fraction: None
    ) -> Generator[Arrays]:
        """Yield the tensors called `names`, feed by feed; then remember how far this came.

        Raises FeedError naming tensor and sample where one holds NaN or infinity.
        """
        kept = self._kept
        nodes = backward_slice(self._graph, names, kept.names)
        later = self._needed_later(nodes, kept)
        made = {tensor.name for node in nodes for tensor in node.outputs}
        held = held_values(self._graph, {*names} - made)
        run: Reference | None = None
        sample = -1
        try:
            for sample, feed in enumerate(self._feeds):
                known = kept.read(sample) if kept.layout else {}
                if not known:
                    check_finite(feed, sample)
                if run is None and made:
                    wanted = sorted(({*names} | later.names) & made)
                    run = _part(self._graph, nodes, known, wanted, optimized=self._optimized)
                given = dict(feed) | known
                arrays = held | given | (run(given) if run else {})
                found = {name: arrays[name] for name in names}
                check_finite(found, sample)
                yield found
                if len(later.layout) == sample:
                    self._keep(later, arrays)
                progress((sample + 1) / max(self.samples, sample + 1))
            if sample < 0:
                raise FeedError("there are no feeds to calibrate on; give at least one sample")
            if later.layout:
                self._kept = later
        finally:
            (kept if self._kept is later else later).close()

    def _keep(self, later: _LiveTensors, arrays: Arrays) -> None:
        if not all(_is_of_bytes(arrays[name]) for name in later.names):
            later.close()
            return
        try:
            later.write(arrays)
        except OSError:  # the disk is full
            later.close()
            return
        samples = len(later.layout)
        if later.size * max(self.samples, samples) / samples > self._most:
            later.close()

    def _needed_later(self, nodes: Sequence[gs.Node], kept: _LiveTensors) -> _LiveTensors:
        inputs = {tensor.name for tensor in self._graph.inputs}
        made = kept.made | {t.name for node in nodes for t in node.outputs if t.name}
        read: set[str] = set()
        for node in self._graph.nodes:
            if not any(tensor.name in made for tensor in node.outputs):
                read |= names_read(node)
        return _LiveTensors(frozenset((read & made) - inputs), frozenset(made))


def _is_of_bytes(value: Any) -> bool:
    """Say whether a file takes `value`: no sequence or optional, and no text."""
    return isinstance(value, np.ndarray) and not value.dtype.hasobject


def _part(
    graph: gs.Graph,
    nodes: Sequence[gs.Node],
    known: Arrays,
    wanted: Sequence[str],
    *,
    optimized: bool,
) -> Reference:
    """Return `nodes` of `graph`, ready to run from the graph's inputs and the arrays `known`."""
    copy = clone(graph, nodes)
    tensors = {t.name: t for s in scopes(copy) for n in s.nodes for t in (*n.inputs, *n.outputs)}
    for name, array in known.items():
        given = tensors.get(name)
        if given is None:  # what only later stages read
            given = make_variable(name)
        given.dtype, given.shape = array.dtype, None
        copy.inputs.append(given)
    copy.outputs = [tensors[name] for name in wanted]
    return Reference(copy, optimized=optimized)
