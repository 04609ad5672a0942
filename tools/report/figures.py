"""What is measured for a report: costs, times and a feed to run on, as far as that can be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.run.feeds import random_feeds
from ...passes.analysis.roofline import Machine, measure_machine
from .document import GraphEntry, LatencyEntry, MeasureEntry
from .measures import cost_measures, latencies_in_turn, time_measure, try_to

Feeds = Iterable[Mapping[str, np.ndarray[Any, Any]]]


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """What a report measures: on which backends, how often, and whether it does at all.

    `backends`: those whose layers are timed. `roofline`: whether shares of it are told; `machine`:
    its figures, measured where None. `runs`: whether results of nodes are compared.
    """

    backends: tuple[str, ...] = ("onnxruntime",)
    target: str = "cpu"
    threads: int | None = None
    rounds: int = 5
    machine: Machine | None = None
    roofline: bool = True
    runs: bool = True
    progress: Callable[[float, str], None] = lambda fraction, word: None


@dataclass(kw_only=True)
class Figures:
    """What was measured so far; `unknown`: what could not be, and why."""

    measures: list[MeasureEntry] = field(default_factory=list)
    latencies: list[LatencyEntry] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def measure_graphs(
    graphs: Sequence[gs.Graph],
    entries: Sequence[GraphEntry],
    measuring: Measuring,
    measured: Figures,
    feeds: Feeds | None,
) -> None:
    """Measure what each node costs and takes, as far as that can be done."""
    steps = len(graphs) * (len(measuring.backends) + 1)
    done = 0
    machine = measuring.machine
    if machine is None and measuring.roofline:
        measuring.progress(0.0, "what the machine does at most")
        machine = measure_machine(measuring.threads)
    runs: dict[str, dict[int, Callable[[], object]]] = {}
    for place, (graph, entry) in enumerate(zip(graphs, entries, strict=True)):
        costs = partial(cost_measures, graph, place, machine)
        measured.measures += try_to(f"costs of {entry.file}", measured.unknown, costs) or []
        done += 1
        feed = one_feed(graph, feeds, measured) if measuring.backends else None
        for backend in measuring.backends if feed is not None else ():
            measuring.progress(done / steps, f"timing layers on {backend}")
            assert feed is not None
            time_it = partial(
                time_measure,
                graph,
                entry,
                place,
                backend=backend,
                target=measuring.target,
                threads=measuring.threads,
                feed=feed,
                rounds=measuring.rounds,
            )
            times = try_to(f"times of {entry.file} on {backend}", measured.unknown, time_it)
            if times is not None:
                measured.measures.append(times[0])
                runs.setdefault(backend, {})[place] = times[1]
            done += 1
    for backend, own in runs.items():
        latencies = partial(latencies_in_turn, own, backend, measuring.rounds)
        measured.latencies += try_to(f"latencies on {backend}", measured.unknown, latencies) or []


def one_feed(
    graph: gs.Graph, feeds: Feeds | None, measured: Figures
) -> Mapping[str, np.ndarray[Any, Any]] | None:
    """Return the first feed with the inputs of `graph`, or a random one."""
    names = {tensor.name for tensor in graph.inputs}
    if feeds is not None:
        given = next(iter(feeds), None)
        if given is not None and names <= given.keys():
            return {name: given[name] for name in given if name in names}
    drawn = try_to("a random feed", measured.unknown, lambda: random_feeds(graph))
    return drawn[0] if drawn else None
