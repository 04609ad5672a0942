"""What became of each node, by which pass, and what passes left alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..diff.model_diff import BodyDiff, Change, ModelDiff
from .document import DeclineEntry, GraphEntry, LinkEntry

Passes = Sequence[Mapping[str, Any]]


def links_of(
    found: ModelDiff, before: GraphEntry, after: GraphEntry, passes: Passes = ()
) -> tuple[LinkEntry, ...]:
    """Return a link for each change of the outermost graph, and for each pair that is the same.

    `passes`: those that ran, as `optimize --json` has them.
    """
    touched = _touching(passes)
    taken: set[int] = set()
    links = []
    for change in found.changes:
        if any(node.scope for node in (*change.before, *change.after)):
            continue
        old = tuple(node.index for node in change.before)
        new = tuple(node.index for node in change.after)
        taken.update(old)
        links.append(
            LinkEntry(
                kind=change.kind,
                before=old,
                after=new,
                passes=_passes(touched, before, old, after, new),
                details=tuple(_details(change)),
            )
        )
    links += [
        LinkEntry(
            kind="same",
            before=(one,),
            after=(two,),
            passes=_passes(touched, before, (one,), after, (two,)),
        )
        for one, two in found.pairs
        if one not in taken
    ]
    return tuple(links)


def body_links(found: BodyDiff, before: int, after: int) -> Iterator[LinkEntry]:
    """Yield the links of a body whose nodes have places from `before` and `after` on."""
    taken: set[int] = set()
    for change in found.changes:
        taken.update(node.index for node in change.before)
        yield LinkEntry(
            kind=change.kind,
            before=tuple(before + node.index for node in change.before),
            after=tuple(after + node.index for node in change.after),
            details=tuple(_details(change)),
        )
    for one, two in found.pairs:
        if one not in taken:
            yield LinkEntry(kind="same", before=(before + one,), after=(after + two,))


def _touching(passes: Passes) -> Mapping[str, list[str]]:
    """Return the passes that removed, made or changed a node, by its name, each once."""
    found: dict[str, list[str]] = defaultdict(list)
    for each in passes:
        for name in each.get("touched", ()):
            if each["name"] not in found[name]:
                found[name].append(each["name"])
    return found


def _passes(
    touched: Mapping[str, list[str]],
    before: GraphEntry,
    old: tuple[int, ...],
    after: GraphEntry,
    new: tuple[int, ...],
) -> tuple[str, ...]:
    names = [before.nodes[i].name for i in old] + [after.nodes[i].name for i in new]
    return tuple(dict.fromkeys(each for name in names for each in touched.get(name, ())))


def _details(change: Change) -> Iterator[str]:
    for attribute in change.attributes:
        yield f"{attribute.name}: {attribute.before} -> {attribute.after}"
    for result in change.types:
        yield f"output {result.output}: {result.before} -> {result.after}"
    for weight in change.weights:
        apart = weight.distance and f", {weight.distance}"
        types = (weight.before or "none", weight.after or "none")
        yield f"weights at input {weight.input}: {' -> '.join(dict.fromkeys(types))}{apart}"


def declines_of(
    passes: Passes, before: GraphEntry, after: GraphEntry | None
) -> tuple[DeclineEntry, ...]:
    """Return the sites that passes left alone, with the places of their nodes."""
    places = [_places(graph) for graph in (before, after) if graph is not None]
    found = []
    for each in passes:
        for decline in each["declined"]:
            node = decline["node"]
            old, new = (places[side].get(node, -1) if side < len(places) else -1 for side in (0, 1))
            found.append(
                DeclineEntry(
                    pass_name=each["name"],
                    name=node,
                    before=old,
                    after=new,
                    reason=decline["reason"],
                )
            )
    return tuple(found)


def _places(graph: GraphEntry) -> dict[str, int]:
    """Return the places of nodes by what people call them; see `ir.core.variables.label`."""
    found: dict[str, int] = {}
    for place, node in enumerate(graph.nodes):
        found.setdefault(f"'{node.name}' ({node.op})", place)
        found.setdefault(f"{node.op} -> '{node.name}'", place)
    return found
