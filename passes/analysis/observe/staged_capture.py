"""Inner tensors of a graph captured stage by stage, without starting over each time.

After a stage, what it has made and later nodes read is written to a temporary file, sample by
sample; the next stage goes on from there. A network of n stages so costs about one run of the
samples, not n / 2, and memory holds one sample. A file is given back when nothing in it is read any
more; where that is true of more than half of it, the next stage takes along the rest. Where files
would grow too large for the disk, or sequences or text are among what is to be kept, a stage starts
at the last one kept, the graph's inputs at worst. Files have no name on the disk, and are gone when
the capture is closed, or the process ends in any way.
"""

from __future__ import annotations

import math
import operator
import shutil
import tempfile
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import FeedError
from ....ir.graph.backward_slice import backward_slice, names_read
from ....ir.run.reference import Reference
from ...engine.context import Feeds
from .capture import Arrays, check_finite, held_values
from .part import run_part

# What files may take.
_MOST_DISK = 2**30
_PART_OF_FREE = 8


@dataclass(eq=False)
class _LiveTensors:
    """Tensors of every sample in a file: what nodes not yet run read of one stage."""

    names: frozenset[str]
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
        """Append what a sample gives."""
        entry = {}
        self.file.seek(self.size)
        for name in sorted(self.names):
            array = np.ascontiguousarray(arrays[name])
            entry[name] = (self.size, array.dtype, arrays[name].shape)
            self.file.write(array.reshape(-1).view(np.uint8).data)
            self.size += array.nbytes
        self.layout.append(entry)

    def read(self, sample: int, name: str) -> np.ndarray[Any, Any]:
        """Return what `sample` gave."""
        start, dtype, shape = self.layout[sample][name]
        self.file.seek(start)
        raw = np.empty(dtype.itemsize * math.prod(shape), np.uint8)
        self.file.readinto(raw.data)
        return raw.view(dtype).reshape(shape)

    def is_worth(self, names: Collection[str]) -> bool:
        """Say whether `names` are at least half of what the file holds."""
        held = (entry[name] for entry in self.layout for name in names)
        return 2 * sum(t.itemsize * math.prod(shape) for _, t, shape in held) >= self.size


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
        self._kept: dict[str, _LiveTensors] = {}  # by name of the tensor
        self._made: frozenset[str] = frozenset()  # by the nodes that were run to give them
        self.samples = operator.length_hint(feeds) or sum(1 for _ in feeds)
        free = shutil.disk_usage(tempfile.gettempdir()).free
        self._most = min(_MOST_DISK, free // _PART_OF_FREE)

    def __enter__(self) -> StagedCapture:
        return self

    def __exit__(self, *error: object) -> None:
        self._go_on_from({}, self._made)

    def stage(
        self,
        names: Sequence[str],
        progress: Callable[[float], None] = lambda fraction: None,
        *,
        beyond: Sequence[str] = (),
    ) -> Generator[Arrays]:
        """Yield the tensors called `names`, feed by feed; then remember how far this came.

        With them come those called `beyond`, whose nodes have not run for what follows: they may
        still change.

        Raises FeedError naming tensor and sample where one holds NaN or infinity.
        """
        nodes = backward_slice(self._graph, names, self._kept.keys())
        made = {tensor.name for node in nodes for tensor in node.outputs}
        held = held_values(self._graph, {*names} - made)
        so_far = self._made | (made - {""})
        live = self._read_later(so_far)
        stay = self._staying(live)
        later = _LiveTensors(live - stay.keys())
        every = backward_slice(self._graph, [*names, *beyond], self._kept.keys())
        needed = self._kept.keys() & (later.names.union(names, *map(names_read, every)))
        run: Reference | None = None
        sample = -1
        try:
            for sample, feed in enumerate(self._feeds):
                known = {name: self._kept[name].read(sample, name) for name in sorted(needed)}
                if not self._kept:
                    check_finite(feed, sample)
                if run is None and every:
                    wanted = sorted((live | {*names}) & made)
                    run = run_part(
                        self._graph, every, known, [*wanted, *beyond], optimized=self._optimized
                    )
                given = dict(feed) | known
                arrays = held | given | (run(given) if run else {})
                found = {name: arrays[name] for name in (*names, *beyond)}
                check_finite({name: found[name] for name in names}, sample)
                yield found
                if len(later.layout) == sample:
                    self._keep(later, arrays, {*stay.values()})
                progress((sample + 1) / max(self.samples, sample + 1))
            if sample < 0:
                raise FeedError("there are no feeds to calibrate on; give at least one sample")
            if later.layout:
                self._go_on_from(stay | dict.fromkeys(later.names, later), so_far)
        finally:
            if later not in self._kept.values():
                later.close()

    def _go_on_from(self, kept: dict[str, _LiveTensors], made: frozenset[str]) -> None:
        """Let the next stage begin at `kept`, and close files without any of them."""
        gone = {*self._kept.values()} - {*kept.values()}
        self._kept, self._made = kept, made
        for each in gone:
            each.close()

    def _staying(self, live: Collection[str]) -> dict[str, _LiveTensors]:
        """Return those of `live` that stay in the files where they are."""
        held: dict[_LiveTensors, set[str]] = {}
        for name in self._kept.keys() & live:
            held.setdefault(self._kept[name], set()).add(name)
        return {name: one for one, own in held.items() if one.is_worth(own) for name in own}

    def _keep(self, later: _LiveTensors, arrays: Arrays, beside: Collection[_LiveTensors]) -> None:
        if not all(_is_of_bytes(arrays[name]) for name in later.names):
            later.close()
            return
        try:
            later.write(arrays)
        except OSError:  # the disk is full
            later.close()
            return
        samples = len(later.layout)
        size = later.size * max(self.samples, samples) / samples
        if size + sum(each.size for each in beside) > self._most:
            later.close()

    def _read_later(self, made: Collection[str]) -> frozenset[str]:
        """Return what nodes that have not run read of what is `made`."""
        inputs = {tensor.name for tensor in self._graph.inputs}
        read: set[str] = set()
        for node in self._graph.nodes:
            if not any(tensor.name in made for tensor in node.outputs):
                read |= names_read(node)
        return frozenset((read & set(made)) - inputs)


def _is_of_bytes(value: Any) -> bool:
    """Say whether a file takes `value`: no sequence or optional, and no text."""
    return isinstance(value, np.ndarray) and not value.dtype.hasobject
