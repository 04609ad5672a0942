"""What `planish bench` times: every model on every backend, at every batch size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_graphsurgeon as gs

from ...backends.contract.backend import Compiled
from ...backends.contract.registry import USUAL, load_compiled, lower, measures, written_by
from ...backends.timing.bench import Subject
from ...ir.core.errors import BackendError
from ...ir.run.feeds import Feed, random_feeds
from ..feeds import with_batch
from ..files import load


@dataclass(frozen=True)
class BenchedModel(Subject):
    """What is timed, and a graph with its inputs, which may have its nodes too."""

    graph: gs.Graph | None = None


Model = tuple[str, gs.Graph, Compiled]


def lowered(
    path: Path,
    backends: Sequence[str] | None,
    target: str,
    threads: int | None,
    compiled: bool,
    *,
    read: Callable[[Path], gs.Graph] = load,
    draw: Callable[[gs.Graph], Feed] = lambda graph: random_feeds(graph)[0],
) -> Iterator[Model]:
    """Yield for each backend a label, a graph with the inputs, and what runs.

    `compiled`, or where the file says so of itself: it is what the backend wrote, and only that
    knows how to read it; else `read` returns the graph that it holds. What is measured to choose a
    backend is run on what `draw` gives.
    """
    writer = written_by(path)
    if writer is not None and backends and set(backends) != {writer}:
        raise BackendError(
            f"'{path}' was compiled by backend '{writer}'; leave --backend out, or give the model"
        )
    graph = None if compiled or writer is not None else read(path)
    names = backends or [writer or USUAL]
    for name in names:
        if graph is None:
            ready = load_compiled(path, name, target, threads)
            inputs = ready.interface() or load(path)
        else:
            feeds = [draw(graph)] if measures(name) else None
            ready = lower(graph, name, target, threads, feeds=feeds)
            inputs = graph
        label = str(path) if len(names) == 1 else f"{path} on {name}"
        yield f"{label} ({ready.backend})" if ready.backend else label, inputs, ready


def subjects_of(
    models: Sequence[Model], batches: Sequence[int] | None, shape: Sequence[str] | None, seed: int
) -> Iterator[BenchedModel]:
    """Yield what is timed: each model at each batch size, on the same random feed."""
    for size in [*batches] if batches else [None]:
        for label, graph, ready in models:
            feed = _drawn(graph, size, shape, seed)
            own = next((len(array) for array in feed.values() if array.ndim), 1)
            yield BenchedModel(label, ready, feed, own, graph)


def drawn_first(
    graph: gs.Graph, *, batches: Sequence[int] | None, shape: Sequence[str] | None, seed: int
) -> Feed:
    """Return the feed of the first batch size."""
    return _drawn(graph, batches[0] if batches else None, shape, seed)


def _drawn(graph: gs.Graph, size: int | None, shape: Sequence[str] | None, seed: int) -> Feed:
    return random_feeds(graph, seed=seed, shapes=with_batch(graph, size, shape))[0]
