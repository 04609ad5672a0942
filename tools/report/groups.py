"""Nodes that are shown as one: what became one, and what stands for others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from .document import GraphEntry, GroupEntry, LinkEntry


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


def without_circles(groups: Sequence[GroupEntry], graph: GraphEntry) -> tuple[GroupEntry, ...]:
    """Return the groups that leave the graph without circles where each is one node.

    Nodes that a group reads of what reads the group itself cannot be drawn in front of it.
    """
    kept = list(groups)
    while circular := _in_circles(kept, graph):
        kept = [group for place, group in enumerate(kept) if place not in circular]
    return tuple(kept)


def _in_circles(groups: Sequence[GroupEntry], graph: GraphEntry) -> set[int]:
    """Return the places of groups that are part of a circle, or between two."""
    group_of = {node: place for place, group in enumerate(groups) for node in group.nodes}
    count = len(groups)
    item_of = [group_of.get(node, count + node) for node in range(len(graph.nodes))]
    wires = {
        (item_of[source], item_of[node])
        for node, entry in enumerate(graph.nodes)
        for source in entry.inputs
        if source >= 0 and item_of[source] != item_of[node]
    }
    left = _left_over(wires) & _left_over({(two, one) for one, two in wires})
    return {item for item in left if item < count}


def _left_over(wires: set[tuple[int, int]]) -> set[int]:
    """Return the items that no order of `wires` reaches (Kahn's algorithm)."""
    after: dict[int, list[int]] = defaultdict(list)
    waiting: dict[int, int] = defaultdict(int)
    for one, two in wires:
        after[one].append(two)
        waiting[two] += 1
    ready = [item for item in after if not waiting[item]]
    while ready:
        for item in after[ready.pop()]:
            waiting[item] -= 1
            if not waiting[item]:
                ready.append(item)
    return {item for item, count in waiting.items() if count}
