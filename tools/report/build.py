"""A report put together: of a run, of two models, or of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...backends.onnxruntime.explain.report import Int8Report
from ...ir.core.counted import counted
from ...ir.run.feeds import random_feeds
from ...passes.analysis.roofline import Machine, measure_machine
from ..diff.diff import diff
from ..diff.model_diff import ModelDiff
from ..diff.wiring import Wiring
from .agreement import agreement_of
from .document import (
    AgreementEntry,
    GraphEntry,
    GroupEntry,
    LatencyEntry,
    MeasureEntry,
    ReportDocument,
)
from .front import front_entry
from .graph_entry import graph_entry
from .int8 import int8_latencies, int8_measures, stayed_float
from .links import declines_of, groups_after, groups_before, links_of
from .measures import cost_measures, sqnr_measure, time_measure, try_to
from .spelled_out import SpelledOut, spell_out

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


@dataclass(frozen=True, kw_only=True)
class GivenModel:
    """A graph of a report: the file that it is of, and the bytes of that, None where not known."""

    graph: gs.Graph
    file: str
    bytes: int | None = None


@dataclass(kw_only=True)
class _Measured:
    measures: list[MeasureEntry] = field(default_factory=list)
    latencies: list[LatencyEntry] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def run_report(
    before: GivenModel,
    after: GivenModel,
    run: dict[str, Any],
    *,
    made: dict[str, Any],
    feeds: Feeds | None = None,
    labels: Sequence[str] = (),
    measuring: Measuring | None = None,
) -> ReportDocument:
    """Return the report of what a pipeline made of `before`.

    `run` is what `optimize --json` says of it. `after.graph` may have fused operators: they are
    written out, and shown as groups. `feeds` are those of the run, if any.
    """
    found = two_models(before, after, made=made, feeds=feeds, measuring=measuring, run=run)
    agreement = None
    if feeds is not None:
        unknown: list[str] = list(found.unknown)
        agreement = try_to(
            "labels that changed",
            unknown,
            lambda: _agreement(before.graph, after.graph, run, feeds, labels),
        )
        found = replace(found, unknown=tuple(unknown))
    return replace(found, kind="run", run=run, agreement=agreement)


def _agreement(
    before: gs.Graph,
    after: gs.Graph,
    run: Mapping[str, Any],
    feeds: Feeds,
    labels: Sequence[str],
) -> AgreementEntry | None:
    ranked = (each for each in run["outputs"] if each["top1_agreement"] is not None)
    output = next(ranked, None)
    if output is None or output["class_axis"] is None:
        return None
    name, axis = output["name"], output["class_axis"]
    return agreement_of(before, after, feeds, name, axis, left_out=labels)


def two_models(
    before: GivenModel,
    after: GivenModel,
    *,
    made: dict[str, Any],
    feeds: Feeds | None = None,
    measuring: Measuring | None = None,
    run: Mapping[str, Any] | None = None,
    found: ModelDiff | None = None,
) -> ReportDocument:
    """Return the report of what differs between two models, `found` where that is known already.

    `measuring`: None to measure nothing. `run`: that which made one of the other.
    """
    source, spelled = spell_out(before.graph), spell_out(after.graph)
    entry = graph_entry(spelled.graph, role="after", file=after.file, size=after.bytes)
    first = graph_entry(source.graph, role="before", file=before.file, size=before.bytes)
    if found is None or source.calls or spelled.calls:
        found = diff(source.graph, spelled.graph)
    passes = () if run is None else run["passes"]
    links = links_of(found, first, entry, passes)
    made_of = _calls(spelled)
    first = replace(first, groups=groups_before(links, made_of, _calls(source), first))
    entry = replace(entry, groups=groups_after(links, made_of, entry))
    graphs = (source.graph, spelled.graph)
    measured = _Measured()
    if measuring is not None:
        _measure(graphs, (first, entry), measuring, measured, feeds)
        feed = _one(graphs[0], feeds, measured) if measuring.runs else None
        if feed is not None:
            sqnr = try_to(
                "SQNR of nodes",
                measured.unknown,
                lambda: sqnr_measure(*graphs, links, (first, entry), feed),
            )
            measured.measures += [] if sqnr is None else [sqnr]
    return ReportDocument(
        title=_title(before.file, after.file),
        kind="diff",
        made=made,
        graphs=(first, entry),
        links=links,
        model_changes=tuple((c.what, c.before, c.after) for c in found.model),
        declines=declines_of(passes, first, entry),
        measures=tuple(measured.measures),
        latencies=tuple(measured.latencies),
        unknown=tuple(measured.unknown),
    )


def search_report(
    before: GivenModel,
    after: GivenModel,
    found: Mapping[str, Any],
    *,
    made: dict[str, Any],
    feeds: Feeds | None = None,
    measuring: Measuring | None = None,
) -> ReportDocument:
    """Return the report of a search; `found` is the document that it wrote."""
    report = two_models(before, after, made=made, feeds=feeds, measuring=measuring)
    return replace(report, kind="search", front=front_entry(found))


def int8_report(
    model: GivenModel,
    original: GivenModel | None,
    found: Int8Report,
    *,
    made: dict[str, Any],
    measuring: Measuring | None = None,
) -> ReportDocument:
    """Return the report of what `explain_int8` found of `model`, beside its float `original`."""
    if original is None:
        report = model_report(model, made=made, measuring=measuring)
    else:
        report = two_models(original, model, made=made, measuring=measuring)
    place = len(report.graphs) - 1
    entry = report.graphs[place]
    return replace(
        report,
        measures=report.measures + int8_measures(found, entry, place),
        declines=stayed_float(found, entry, place),
        latencies=int8_latencies(found, len(report.graphs)),
        remarks=found.remarks,
    )


def _calls(spelled: SpelledOut) -> tuple[GroupEntry, ...]:
    """Return the parts of each fused operator as a group."""
    places = {id(node): at for at, node in enumerate(Wiring(spelled.graph, spelled.graph).nodes)}
    return tuple(
        GroupEntry(kind="fused", label=op, nodes=tuple(sorted(places[id(n)] for n in nodes)))
        for _, op, nodes in spelled.calls
    )


def model_report(
    model: GivenModel,
    *,
    made: dict[str, Any],
    feeds: Feeds | None = None,
    measuring: Measuring | None = None,
) -> ReportDocument:
    """Return the report of one model: its graph, and what its nodes cost and take."""
    spelled = spell_out(model.graph)
    entry = graph_entry(
        spelled.graph, role="model", file=model.file, size=model.bytes, groups=_calls(spelled)
    )
    measured = _Measured()
    if measuring is not None:
        _measure((spelled.graph,), (entry,), measuring, measured, feeds)
    return ReportDocument(
        title=model.file,
        kind="model",
        made=made,
        graphs=(entry,),
        measures=tuple(measured.measures),
        latencies=tuple(measured.latencies),
        unknown=tuple(measured.unknown),
    )


def _title(before: str, after: str) -> str:
    return before if after in ("", before) else f"{before} \u2192 {after}"


def _measure(
    graphs: Sequence[gs.Graph],
    entries: Sequence[GraphEntry],
    measuring: Measuring,
    measured: _Measured,
    feeds: Feeds | None,
) -> None:
    """Measure what each node costs and takes, as far as that can be done."""
    steps = len(graphs) * (len(measuring.backends) + 1)
    done = 0
    machine = measuring.machine
    if machine is None and measuring.roofline:
        measuring.progress(0.0, "what the machine does at most")
        machine = measure_machine(measuring.threads)
    for place, (graph, entry) in enumerate(zip(graphs, entries, strict=True)):
        costs = partial(cost_measures, graph, place, machine)
        measured.measures += try_to(f"costs of {entry.file}", measured.unknown, costs) or []
        done += 1
        feed = _one(graph, feeds, measured) if measuring.backends else None
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
                measured.latencies.append(times[1])
            done += 1


def _one(
    graph: gs.Graph, feeds: Feeds | None, measured: _Measured
) -> Mapping[str, np.ndarray[Any, Any]] | None:
    """Return the first feed with the inputs of `graph`, or a random one."""
    names = {tensor.name for tensor in graph.inputs}
    if feeds is not None:
        given = next(iter(feeds), None)
        if given is not None and names <= given.keys():
            return {name: given[name] for name in given if name in names}
    drawn = try_to("a random feed", measured.unknown, lambda: random_feeds(graph))
    return drawn[0] if drawn else None


def summary_line(report: ReportDocument, size: int) -> str:
    """Say in one line what was written."""
    nodes = counted(sum(len(graph.nodes) for graph in report.graphs), "node")
    return f"report of {nodes}, {size / 1e6:.1f} MB"
