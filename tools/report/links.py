"""What became of each node, by which pass, and what passes left alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..diff.model_diff import Change, ModelDiff
from .document import DeclineEntry, GraphEntry, GroupEntry, LinkEntry

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
        apart = ""
        if weight.max_abs is not None and weight.relative is not None:
            apart = f", at most {weight.max_abs:.3g} apart, {weight.relative:.3g} of the norm"
        types = (weight.before or "none", weight.after or "none")
        yield f"weights at input {weight.input}: {' -> '.join(dict.fromkeys(types))}{apart}"


def groups_after(
    found: Sequence[LinkEntry], calls: tuple[GroupEntry, ...], graph: GraphEntry
) -> tuple[GroupEntry, ...]:
    """Return `calls`, and as groups what stands for what was replaced, none of it in a call."""
    taken = {node for group in calls for node in group.nodes}
    groups = list(calls)
    for link in found:
        if link.kind != "replaced" or len(link.after) < 2 or taken.intersection(link.after):
            continue
        label = _label(graph, dict.fromkeys(link.after))
        groups.append(GroupEntry(kind="replaced", label=label, nodes=link.after))
    return tuple(groups)


def groups_before(
    found: Sequence[LinkEntry],
    after: tuple[GroupEntry, ...],
    calls: tuple[GroupEntry, ...],
    graph: GraphEntry,
) -> tuple[GroupEntry, ...]:
    """Return the groups of nodes that became one: by a change, or as parts of a fused operator.

    `calls` are groups that were there already, which stay.
    """
    held = {node for group in calls for node in group.nodes}
    group_of = {node: place for place, group in enumerate(after) for node in group.nodes}
    together: dict[tuple[str, int], dict[int, None]] = defaultdict(dict)
    for place, link in enumerate(found):
        groups = {group_of[node] for node in link.after if node in group_of}
        key = ("link", place) if len(groups) != 1 else ("group", groups.pop())
        if key[0] == "group" or link.kind in ("fused", "replaced"):
            together[key].update(dict.fromkeys(link.before))
    return calls + tuple(
        GroupEntry(
            kind="fused",
            label=after[at].label if kind == "group" else _label(graph, nodes),
            nodes=tuple(sorted(nodes)),
        )
        for (kind, at), nodes in together.items()
        if len(nodes) > 1 and held.isdisjoint(nodes)
    )


def _label(graph: GraphEntry, nodes: Mapping[int, None]) -> str:
    return " + ".join(dict.fromkeys(graph.nodes[node].op for node in sorted(nodes)))


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
