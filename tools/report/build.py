"""A report put together: of a run, of two models, or of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import onnx_graphsurgeon as gs

from ...backends.onnxruntime.explain.report import Int8Report
from ...ir.run.compare import compare
from ..diff.diff import diff
from ..diff.model_diff import ModelDiff
from ..diff.wiring import Wiring
from .agreement import agreement_of
from .bodies import links_in_bodies, with_bodies
from .document import AgreementEntry, GroupEntry, ReportDocument
from .figures import Feeds, Figures, Measuring, measure_graphs, one_feed
from .front import front_entry
from .graph_entry import graph_entry
from .groups import groups_after, groups_before, without_circles
from .int8 import int8_latencies, int8_measures, stayed_float
from .links import declines_of, links_of
from .measures import sqnr_measure, try_to
from .spelled_out import SpelledOut, spell_out


@dataclass(frozen=True, kw_only=True)
class GivenModel:
    """A graph of a report: the file that it is of, and the bytes of that, None where not known."""

    graph: gs.Graph
    file: str
    bytes: int | None = None


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
    found = replace(found, kind="run", run=run)
    if feeds is None:
        return found
    return _with_agreement(found, before.graph, after.graph, run["outputs"], feeds, labels)


def _with_agreement(
    report: ReportDocument,
    before: gs.Graph,
    after: gs.Graph,
    outputs: Iterable[Mapping[str, Any]],
    feeds: Feeds,
    labels: Sequence[str] = (),
) -> ReportDocument:
    """Return `report` with the samples of `feeds` whose label changed.

    Of the first of `outputs`, as `compare` tells of them, that has classes along an axis.
    """

    def found() -> AgreementEntry | None:
        ranked = (o for o in outputs if None not in (o["top1_agreement"], o["class_axis"]))
        output = next(ranked, None)
        if output is None:
            return None
        name, axis = output["name"], output["class_axis"]
        return agreement_of(before, after, feeds, name, axis, left_out=labels)

    unknown = list(report.unknown)
    agreement = try_to("labels that changed", unknown, found)
    return replace(report, agreement=agreement, unknown=tuple(unknown))


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
    old = groups_before(links, made_of, _calls(source), first)
    new = groups_after(links, made_of, entry)
    first = replace(first, groups=without_circles(old, first))
    entry = replace(entry, groups=without_circles(new, entry))
    graphs = (source.graph, spelled.graph)
    first, entry = map(with_bodies, (first, entry), graphs)
    links += tuple(links_in_bodies(graphs, found.bodies))
    measured = Figures()
    if measuring is not None:
        measure_graphs(graphs, (first, entry), measuring, measured, feeds)
        feed = one_feed(graphs[0], feeds, measured) if measuring.runs else None
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
    labels: Sequence[str] = (),
    measuring: Measuring | None = None,
) -> ReportDocument:
    """Return the report of a search; `found` is the document that it wrote."""
    report = two_models(before, after, made=made, feeds=feeds, measuring=measuring)
    report = replace(report, kind="search", front=front_entry(found))
    if feeds is None:
        return report
    unknown = list(report.unknown)
    compared = try_to(
        "how far outputs are apart",
        unknown,
        lambda: compare(before.graph, after.graph, feeds, labels=labels),
    )
    report = replace(report, unknown=tuple(unknown))
    outputs = [] if compared is None else list(map(asdict, compared.outputs))
    return _with_agreement(report, before.graph, after.graph, outputs, feeds, labels)


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
    entry = with_bodies(entry, spelled.graph)
    measured = Figures()
    if measuring is not None:
        measure_graphs((spelled.graph,), (entry,), measuring, measured, feeds)
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
