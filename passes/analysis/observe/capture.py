"""A graph run for the sake of its inner tensors, feed by feed in constant memory."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.errors import FeedError
from ....ir.core.variables import dense_values
from ....ir.graph.backward_slice import backward_slice
from ....ir.graph.clone import clone
from ....ir.graph.uses import scopes
from ....ir.run.reference import Reference
from ...engine.context import Feeds
from .bodies import names_inside, show_inner

Arrays = dict[str, np.ndarray[Any, Any]]


class TensorCapture:
    """A copy of `graph` whose outputs are the tensors called `names`, which its top level makes.

    Those that bodies of If, Loop and Scan are given or make come as rows of all values they had;
    those of a body within a Scan are left out.
    Names of graph inputs, with defaults or without, and of constants that a node of the top level
    reads are allowed too; weights are shared with `graph`. Raises ExecutionError where the runtime
    has no kernel.
    """

    def __init__(self, graph: gs.Graph, names: Sequence[str], threads: int | None = None) -> None:
        copy = clone(graph)
        made = {t.name: t for node in copy.nodes for t in node.outputs if t.name}
        inner = (set(names) & names_inside(copy)) - made.keys()
        made |= show_inner(copy, inner) if inner else {}
        self._passed = [name for name in names if name not in made and name not in inner]
        self._held = held_values(copy, self._passed)
        wanted = [made[name] for name in dict.fromkeys(names) if name in made]
        self._called = {tensor.name: name for name, tensor in made.items()}
        copy.outputs = wanted
        copy.nodes = backward_slice(copy, [tensor.name for tensor in wanted])
        self._run = Reference(copy, optimized=True, threads=threads) if wanted else None

    def __call__(self, feed: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """Return the captured tensors for one feed, by name."""
        found = {} if self._run is None else self._run(feed)
        given = {**self._held, **feed}
        shown = {self._called[name]: array for name, array in found.items()}
        return shown | {name: given[name] for name in self._passed}


def held_values(graph: gs.Graph, names: Collection[str]) -> Arrays:
    """Return the values of those of `names` that are constants, which feeds may override.

    They are read by nodes of `graph` or its bodies, or are inputs of it with defaults.
    """
    wanted = set(names)
    nodes = (node for scope in scopes(graph) for node in scope.nodes)
    read = (tensor for node in nodes for tensor in node.inputs)
    found: Arrays = {}
    for tensor in (*graph.inputs, *read):
        if tensor.name in wanted and tensor.name not in found:
            values = dense_values(tensor)
            if values is not None:
                found[tensor.name] = values
    return found


def check_finite(arrays: Mapping[str, np.ndarray[Any, Any]], sample: int) -> None:
    """Raise FeedError naming tensor and sample where one of `arrays` holds NaN or infinity."""
    for name, array in arrays.items():
        if dtypes.is_float(array.dtype) and not _is_finite(array):
            kind = "NaN" if np.isnan(array).any() else "infinity"
            raise FeedError(
                f"tensor '{name}' holds {kind} in sample {sample}; no scale fits it, leave the "
                "sample out or repair the model"
            )


def _is_finite(array: np.ndarray[Any, Any]) -> bool:
    if array.dtype == np.float32:
        # A product over all of it is one quick look; it is finite where everything is and is small.
        flat = array.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(flat @ flat):
                return True
    return bool(np.isfinite(array).all())


def stream_tensors(
    graph: gs.Graph,
    names: Sequence[str],
    feeds: Feeds,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Iterator[Arrays]:
    """Yield the tensors called `names` for each of `feeds`, one feed in memory at a time.

    Raises FeedError naming tensor and sample where one holds NaN or infinity, or where there are no
    feeds at all, or none that gives any of them a value.
    """
    capture = TensorCapture(graph, names)
    total = operator.length_hint(feeds)  # 0 where it is not known
    index, size = -1, 0
    for index, feed in enumerate(feeds):
        found = capture(feed)
        check_finite({**feed, **found}, index)
        size += sum(array.size for array in found.values())
        yield found
        if total:
            progress((index + 1) / total)
    if index < 0:
        raise FeedError("there are no feeds to calibrate on; give at least one sample")
    if names and not size:
        raise FeedError("the feeds are empty: no sample holds a value; give at least one that does")
