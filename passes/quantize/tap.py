"""A graph run for the sake of its inner tensors, feed by feed in constant memory."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir import dtypes
from ...ir.build import subgraphs_of
from ...ir.clone import clone
from ...ir.errors import FeedError
from ...ir.reference import Reference
from ..context import Feeds

Arrays = dict[str, np.ndarray[Any, Any]]


class Tap:
    """A copy of `graph` whose outputs are the tensors called `names`, which its top level makes.

    Names of graph inputs are allowed too; weights are shared with `graph`. Raises ExecutionError
    where the runtime has no kernel.
    """

    def __init__(self, graph: gs.Graph, names: Sequence[str], threads: int | None = None) -> None:
        copy = clone(graph)
        inputs = {tensor.name for tensor in copy.inputs}
        made = {t.name: t for node in copy.nodes for t in node.outputs if t.name}
        self._passed = [name for name in names if name in inputs]
        wanted = [made[name] for name in dict.fromkeys(names) if name not in inputs]
        copy.outputs = wanted
        copy.nodes = _reaching(copy, wanted)
        self._run = Reference(copy, optimized=True, threads=threads) if wanted else None

    def __call__(self, feed: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """Return the tapped tensors for one feed, by name."""
        found = {} if self._run is None else self._run(feed)
        return found | {name: feed[name] for name in self._passed}


def _reaching(graph: gs.Graph, wanted: Sequence[gs.Tensor]) -> list[gs.Node]:
    """Return the nodes, in order, that `wanted` depend on; all where bodies read from outside."""
    if any(True for node in graph.nodes for _ in subgraphs_of(node)):
        return list(graph.nodes)
    needed = {id(tensor) for tensor in wanted}
    kept = []
    for node in reversed(graph.nodes):
        if any(id(tensor) in needed for tensor in node.outputs):
            kept.append(node)
            needed.update(id(tensor) for tensor in node.inputs)
    return kept[::-1]


def stream(
    graph: gs.Graph,
    names: Sequence[str],
    feeds: Feeds,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Iterator[Arrays]:
    """Yield the tensors called `names` for each of `feeds`, one feed in memory at a time.

    Raises FeedError naming tensor and sample where one holds NaN or infinity, or where there are no
    feeds at all.
    """
    tap = Tap(graph, names)
    total = operator.length_hint(feeds)  # 0 where it is not known
    index = -1
    for index, feed in enumerate(feeds):
        found = tap(feed)
        for name, array in (*feed.items(), *found.items()):
            if dtypes.is_float(array.dtype) and not np.isfinite(array).all():
                kind = "NaN" if np.isnan(array).any() else "infinity"
                raise FeedError(
                    f"tensor '{name}' holds {kind} in sample {index}; no scale fits it, leave the "
                    "sample out or repair the model"
                )
        yield found
        if total:
            progress((index + 1) / total)
    if index < 0:
        raise FeedError("there are no feeds to calibrate on; give at least one sample")
