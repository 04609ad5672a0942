"""What a page says in words and tables, read from the document."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.core.counted import counted
from ...ir.core.durations import duration, latency
from ...ir.core.scaled import scaled
from .document import LatencyEntry, LinkEntry, ReportDocument

_KINDS = ("fused", "replaced", "changed", "removed", "added")


@dataclass(frozen=True)
class Tile:
    """One figure at the head of the page; `tone` is good, bad, or empty."""

    label: str
    value: str
    detail: str = ""
    tone: str = ""


def tiles(report: ReportDocument) -> list[Tile]:
    """Return the figures at the head: what holds, how large, how fast, how alike."""
    found = list(_verdict(report))
    found.append(_nodes(report))
    sizes = [graph.bytes for graph in report.graphs]
    if None not in sizes:
        found.append(_arrow("file", sizes, "B"))
    for name in ("macs", "parameters"):
        totals = [m.total for m in report.measures if m.id == name]
        if len(totals) == len(report.graphs):
            found.append(_arrow("MACs" if name == "macs" else name, totals, ""))
    found += _latencies(report)
    if report.agreement is not None:
        kept = report.agreement
        told = f"of {counted(kept.samples, 'sample')}"
        found.append(Tile("labels changed", str(len(kept.changed)), told))
    return found


def _verdict(report: ReportDocument) -> Iterator[Tile]:
    run = report.run
    if run is None:
        return
    checked = run["verification"]
    if checked["verified"] and checked["tolerance"] is not None:
        error = "" if checked["error"] is None else f"largest error {float(checked['error']):.1e}, "
        told = f"{error}{checked['tolerance']:.1e} of the output's range allowed"
        yield Tile("verification", "verified", told, "good")
    elif checked["verified"]:
        yield Tile("verification", "measured", checked["note"] or "not exact: see outputs")
    else:
        yield Tile("verification", "not verified", checked["note"] or "verification was off", "bad")
    for metric in run["metrics"]:
        if metric["value"] is not None:
            yield Tile(metric["name"], _metric(metric), metric["subject"])


def _metric(metric: dict[str, Any]) -> str:
    value = float(metric["value"])
    if metric["unit"] == "share":
        return f"{100 * value:.1f} %"
    return f"{value:.1f} dB" if metric["unit"] == "dB" else f"{value:.4g}"


def _nodes(report: ReportDocument) -> Tile:
    counts = " \u2192 ".join(
        str(sum(not node.body for node in graph.nodes)) for graph in report.graphs
    )
    groups = sum(group.kind == "fused" for group in report.graphs[-1].groups)
    return Tile("nodes", counts, f"{groups} fused operators" if groups else "")


def _arrow(label: str, values: Sequence[float | None], unit: str) -> Tile:
    text = " \u2192 ".join(scaled(value, unit) for value in values)
    first, last = values[0], values[-1]
    if len(values) < 2 or not first or last is None:
        return Tile(label, text)
    part = last / first
    return Tile(label, text, f"{part:{'.2f' if part >= 0.1 else '.2g'}} of what it was")


def _latencies(report: ReportDocument) -> Iterator[Tile]:
    by_runtime: dict[str, dict[int, LatencyEntry]] = defaultdict(dict)
    for each in report.latencies:
        by_runtime[each.runtime][each.graph] = each
    for runtime, times in by_runtime.items():
        text = " \u2192 ".join(latency(times[side].seconds) for side in sorted(times))
        told = _faster(times[0], times[1]) if len(times) == 2 else ""
        yield Tile(f"one run on {runtime}", text, told)


def _faster(before: LatencyEntry, after: LatencyEntry) -> str:
    """Say how many times as fast; where what was measured again overlaps, that nothing tells."""
    ranges = (before.low, before.high, after.low, after.high)
    low, high, after_low, after_high = (math.nan if each is None else each for each in ranges)
    if low <= after_high and after_low <= high:
        return "no difference told: their ranges overlap"
    return f"{before.seconds / after.seconds:.2f} times as fast"


@dataclass(frozen=True)
class ChangeRow:
    """One change in a line, and the node to show for it."""

    text: str
    side: int
    at: int
    passes: str


@dataclass(frozen=True)
class ChangeGroup:
    """Changes of one kind between the same operators."""

    kind: str
    what: str
    rows: tuple[ChangeRow, ...]


def change_counts(report: ReportDocument) -> list[tuple[str, int]]:
    """Return how many changes of each kind there are."""
    found = Counter(link.kind for link in report.links)
    return [(kind, found[kind]) for kind in _KINDS if found[kind]]


def change_groups(report: ReportDocument) -> list[ChangeGroup]:
    """Return the changes by kind and operators, the most frequent first."""
    groups: dict[tuple[str, str], list[ChangeRow]] = defaultdict(list)
    for link in report.links:
        if link.kind != "same":
            groups[link.kind, _operators(report, link)].append(_row(report, link))
    ordered = sorted(groups.items(), key=lambda item: (_KINDS.index(item[0][0]), -len(item[1])))
    return [ChangeGroup(kind, what, tuple(rows)) for (kind, what), rows in ordered]


def _operators(report: ReportDocument, link: LinkEntry) -> str:
    sides = (link.before, link.after)
    written = [
        " + ".join(_once([report.graphs[side].nodes[at].op for at in nodes]))
        for side, nodes in enumerate(sides)
    ]
    return " \u2192 ".join(filter(None, dict.fromkeys(written)))


def _once(operators: Sequence[str]) -> list[str]:
    counts = Counter(operators)
    return [op if count == 1 else f"{count} {op}" for op, count in counts.items()]


def _row(report: ReportDocument, link: LinkEntry) -> ChangeRow:
    side, nodes = (1, link.after) if link.after else (0, link.before)
    names = [report.graphs[side].nodes[at].name for at in nodes]
    return ChangeRow(", ".join(names[:3]), side, nodes[-1], ", ".join(link.passes))


def pass_rows(report: ReportDocument) -> list[dict[str, Any]]:
    """Return a row a pass that edited, left something alone or told something."""
    if report.run is None:
        return []
    told = (p for p in report.run["passes"] if p["edits"] or p["declined"] or p["remarks"])
    places = _places(report)
    return [
        {
            "name": each["name"],
            "text": each["text"] + (f" (round {each['round']})" if each["round"] > 1 else ""),
            "nodes": f"{each['nodes_before']} \u2192 {each['nodes_after']}",
            "edits": each["edits"],
            "time": duration(each["seconds"]),
            "error": "" if each["error"] is None else f"{float(each['error']):.1e}",
            "declined": len(each["declined"]) or "",
            "remarks": each["remarks"] + ([each["undone"]] if each["undone"] else []),
            "touched": [_link(name, places) for name in each.get("touched", ())],
        }
        for each in told
    ]


def _places(report: ReportDocument) -> dict[str, tuple[int, int]]:
    """Return the graph and the place of each node by its name: after, where it is there still."""
    return {
        node.name: (side, at)
        for side, graph in enumerate(report.graphs)
        for at, node in reversed(list(enumerate(graph.nodes)))
    }


def _link(name: str, places: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Return a node that a pass touched: neither before nor after, where another made it go."""
    side, at = places.get(name, (0, -1))
    return {"name": name, "side": side, "at": at, "when": ("before", "after")[side]}


def decline_groups(report: ReportDocument) -> list[dict[str, Any]]:
    """Return the sites that were left alone, by pass and reason, the most frequent first."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for each in report.declines:
        side = 0 if each.before >= 0 else 1
        at = each.before if each.before >= 0 else each.after
        site = {"name": each.name, "side": side, "at": at, "reason": ""}
        groups[each.pass_name, each.reason].append(site)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [
        {"name": name, "reason": reason, "count": counted(len(sites), "site"), "sites": sites}
        for (name, reason), sites in ordered
    ]


def output_rows(report: ReportDocument) -> list[dict[str, Any]]:
    """Return a row for each output that was measured."""
    outputs = [] if report.run is None else report.run["outputs"]
    return [
        {
            "name": each["name"],
            "cells": [
                _number(each["max_abs"], "{:.3g}"),
                _number(each["max_rel"], "{:.3g}"),
                _number(each["sqnr_db"], "{:.1f} dB"),
                _number(each["top1_agreement"], "{:.1%}"),
            ],
        }
        for each in outputs
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(float(value))


def front_cells(report: ReportDocument) -> list[list[str]]:
    """Return the figures of each point of the front as text."""
    if report.front is None:
        return []
    return [
        [_figure(point.values[name], unit) for name, unit, _ in report.front.axes]
        for point in report.front.points
    ]


def _figure(value: float, unit: str) -> str:
    if unit == "s":
        return latency(value)
    return f"{100 * value:.1f} %" if unit == "share" else scaled(value, unit)
