"""Figures of each node: what it costs, how long it takes, how far its result is off."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...backends.contract.layer_times import usual_seconds
from ...backends.contract.registry import lower
from ...ir.core.dtypes import is_float
from ...ir.core.errors import PlanishError
from ...ir.core.extras import missing_package
from ...passes.analysis.cost import cost, costs_in_bodies
from ...passes.analysis.observe.capture import TensorCapture
from ...passes.analysis.roofline import Machine, roofline
from ..diff.wiring import Wiring
from .bodies import BODY, nodes_in_bodies
from .document import GraphEntry, LatencyEntry, LinkEntry, MeasureEntry

Feed = Mapping[str, np.ndarray[Any, Any]]
_LARGEST_CAPTURE = 1 << 30  # bytes of inner tensors that are held at once
_BURSTS = 5  # of runs, whose spread tells whether two models differ in time
_ROUNDING = 1e-6  # of sums of float32
_IN_BODIES = "of nodes in bodies for one run of the body"


def cost_measures(graph: gs.Graph, place: int, machine: Machine | None) -> list[MeasureEntry]:
    """Return MACs, parameters and bytes of each node of a graph, and its share of the roofline.

    Those of nodes in bodies are of one run of the body, which totals and shares leave out: how
    often it runs, data may say. Raises PlanishError where the graph contradicts itself.
    """
    found, inner = cost(graph), nodes_in_bodies(graph)
    kept = {id(node) for node in Wiring(graph, graph).nodes}
    held = [id(node) in kept for node in graph.nodes]
    nodes = [each for each, keep in zip(found.nodes, held, strict=True) if keep]
    if inner:
        of_bodies = costs_in_bodies(graph)
        nodes += [of_bodies[id(node)] for node in inner]
    columns: list[tuple[str, str, str, Sequence[float | None], float]] = [
        ("macs", "MACs", "MAC", [n.macs for n in nodes], found.macs),
        ("parameters", "parameters", "", [n.parameters for n in nodes], found.parameters),
        ("bytes", "bytes moved", "B", [n.bytes_moved for n in nodes], found.bytes_moved),
    ]
    note = _IN_BODIES if inner else ""
    measures = [
        _measure(name, label, place, unit, values, total, note)
        for name, label, unit, values, total in columns
    ]
    if machine is not None:
        roofs = roofline(found, machine)
        times = [each for each, keep in zip(roofs.nodes, held, strict=True) if keep]
        shares = [each.share for each in times] + [None] * len(inner)
        measures.append(_measure("roofline", "roofline share", place, "share", shares, None))
    return measures


def _measure(
    name: str,
    label: str,
    place: int,
    unit: str,
    values: Sequence[float | None],
    total: float | None,
    note: str = "",
) -> MeasureEntry:
    return MeasureEntry(
        id=name,
        label=label,
        graph=place,
        unit=unit,
        better="low",
        values=tuple(values),
        total=total,
        note=note,
    )


def time_measure(
    graph: gs.Graph,
    entry: GraphEntry,
    place: int,
    *,
    backend: str,
    target: str,
    threads: int | None,
    feed: Feed,
    rounds: int,
) -> tuple[MeasureEntry, Callable[[], object]]:
    """Return the time of each node on a backend, and what runs the whole there.

    A kernel that computes several nodes counts at the first of them, and one that computes part of
    a group at the node of that with most multiply-accumulates. Raises PlanishError where the
    backend has no layer times or does not take the graph.
    """
    compiled = lower(graph, backend, target, threads)
    compiled(feed)
    times = compiled.time_layers(feed, rounds=rounds)
    places = {
        name: at
        for at, node in reversed(list(enumerate(entry.nodes)))
        for name in (node.name, *node.outputs)
    }
    heaviest = _heaviest(graph, entry)
    values: list[float | None] = [None] * len(entry.nodes)
    rest, inside = times.rest, 0.0
    for layer in times.layers:
        at = next((places[name] for name in layer.nodes if name in places), None)
        if at is None:
            rest += layer.seconds
        else:
            at = heaviest.get(at, at)
            values[at] = (values[at] or 0.0) + layer.seconds
            inside += layer.seconds if entry.nodes[at].body else 0.0
    total = times.total - inside
    if inside:  # it is in the time of the node that holds the body, too
        more = max(0.0, times.whole - total)
        rest, total = rest + more, total + more
    measure = MeasureEntry(
        id=f"time-{backend}",
        label=f"time on {backend}",
        graph=place,
        unit="s",
        better="low",
        values=tuple(values),
        total=total,
        rest=rest,
        note=_IN_BODIES if any(node.body for node in entry.nodes) else "",
    )
    return measure, lambda: compiled(feed)


def latencies_in_turn(
    runs: Mapping[int, Callable[[], object]], backend: str, rounds: int
) -> list[LatencyEntry]:
    """Return how long each of `runs` takes, by the place of its graph, in bursts that take turns.

    What else the machine does meets all of them alike.
    """
    bursts: dict[int, list[float]] = {place: [] for place in runs}
    for _ in range(_BURSTS):
        for place, run in runs.items():
            bursts[place].append(usual_seconds(run, max(2, rounds // _BURSTS)))
    return [
        LatencyEntry(
            graph=place,
            runtime=backend,
            seconds=float(np.median(found)),
            low=min(found),
            high=max(found),
        )
        for place, found in bursts.items()
    ]


def _heaviest(graph: gs.Graph, entry: GraphEntry) -> dict[int, int]:
    """Return for each node of a group that with most multiply-accumulates, else the first.

    Not for nodes in bodies, whose kernels run inside that of the node that holds them.
    """
    if not entry.groups:
        return {}
    kept = {id(node) for node in Wiring(graph, graph).nodes}
    found = zip(graph.nodes, cost(graph).nodes, strict=True)
    macs = [each.macs or 0 for node, each in found if id(node) in kept]
    return {
        at: max((n for n in group.nodes if n < len(macs)), key=lambda n: (macs[n], -n))
        for group in entry.groups
        if group.kind != BODY
        for at in group.nodes
        if at < len(macs)
    }


def sqnr_measure(
    before: gs.Graph,
    after: gs.Graph,
    links: Sequence[LinkEntry],
    entries: Sequence[GraphEntry],
    feed: Feed,
) -> MeasureEntry | None:
    """Return how far the result of each node is from that of what it came from, in dB.

        SQNR = min over s  10 log10(sum a^2 / sum (a - s b)^2)

    with one factor s for each entry of axis 1: passes hand scales from a layer to the next, and
    what is scaled there is no error. Only of floats of the same sizes, on one feed; None where
    there are none. Raises PlanishError where the reference runtime does not run the graphs.
    """
    pairs = _comparable(links, entries)
    if not pairs:
        return None
    graphs = before, after
    names = [[entries[side].nodes[p[side]].outputs[0] for p in pairs] for side in (0, 1)]
    results: list[float | None] = [None] * len(entries[1].nodes)
    a, b = (TensorCapture(graph, own)(feed) for graph, own in zip(graphs, names, strict=True))
    for (_, two), name_a, name_b in zip(pairs, *names, strict=True):
        results[two] = _sqnr(a[name_a], b[name_b])
    return MeasureEntry(
        id="sqnr",
        label="SQNR against before",
        graph=1,
        unit="dB",
        better="high",
        values=tuple(results),
        note="on one feed, all in front of the node included, up to one factor a channel",
    )


def _comparable(links: Sequence[LinkEntry], entries: Sequence[GraphEntry]) -> list[tuple[int, int]]:
    """Return the places of results that stand for one another: the last of what became another."""
    pairs = []
    size = 0
    for link in links:
        if not link.before or not link.after:
            continue
        one, two = link.before[-1], link.after[-1]
        a, b = entries[0].nodes[one], entries[1].nodes[two]
        alike = a.types[:1] == b.types[:1] and a.types and "float" in a.types[0]
        if not alike or not a.outputs or not b.outputs or len(a.outputs) != len(a.types):
            continue
        size += _bytes(a.types[0])
        if size > _LARGEST_CAPTURE:
            break
        pairs.append((one, two))
    return pairs


def _bytes(written: str) -> int:
    """Return the bytes of a tensor whose type is written as `float32[1, 64, 56, 56]`."""
    sizes = written.partition("[")[2].rstrip("]").split(", ")
    return 2 * 4 * math.prod(int(size) for size in sizes if size.isdigit())


def _sqnr(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float | None:
    if a.shape != b.shape or not a.size or not (is_float(a.dtype) and is_float(b.dtype)):
        return None
    wide, other = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        other = other * _factors(wide, other)
        noise, signal = float(np.square(other - wide).sum()), float(np.square(wide).sum())
    if not math.isfinite(noise) or not math.isfinite(signal) or not signal:
        return None
    return math.inf if not noise else 10 * math.log10(signal / noise)


def _factors(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what makes `b` most like `a`, one factor for each entry of axis 1, of 1 where b is 0.

    Within rounding of 1 they are 1: what is equal stays so.
    """
    axes = tuple(axis for axis in range(a.ndim) if axis != 1) if a.ndim > 1 else None
    power = np.square(b).sum(axis=axes, keepdims=True)
    found = np.divide(
        (a * b).sum(axis=axes, keepdims=True), power, out=np.ones_like(power), where=power > 0
    )
    return np.where(np.abs(found - 1) < _ROUNDING, 1.0, found)


def try_to(what: str, unknown: list[str], make: Callable[[], Any]) -> Any:
    """Return what `make` returns; None, and the reason among `unknown`, where it cannot.

    A report says what it does not know: one runtime that is missing is no reason to have none.
    """
    try:
        return make()
    except PlanishError as error:
        unknown.append(f"{what}: {error}")
    except ModuleNotFoundError as error:
        missing = missing_package(error)
        if missing is None:
            raise
        unknown.append(f"{what}: {missing}")
    return None
