"""Bodies of If, Loop and Scan: their nodes behind those of the outermost graph, a group a holder.

What a body gives is read by the node that holds it; what it reads of scopes around it is an edge
from there. What it is given by its holder, such as a slice of Scan, has no edge of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from ...ir.ops.shapes.infer import infer_types
from ..diff.model_diff import BodyDiff, BodyPath
from ..diff.wiring import Wiring
from .document import GraphEntry, GroupEntry, LinkEntry, NodeEntry
from .graph_entry import node_entry
from .links import body_links

BODY = "body"  # the kind of a group


@dataclass(frozen=True)
class _PlacedBody:
    """A body: where it stands, its nodes, the place of the first one and of its holder."""

    path: BodyPath
    wiring: Wiring
    first: int
    holder: int


def with_bodies(entry: GraphEntry, graph: gs.Graph) -> GraphEntry:
    """Return `entry` with the nodes of all bodies of `graph`, and groups of them."""
    bodies = _bodies(graph)
    return _extended(entry, graph, bodies) if bodies else entry


def nodes_in_bodies(graph: gs.Graph) -> list[gs.Node]:
    """Return the nodes of all bodies of `graph`, in the order of their entries."""
    return [node for body in _bodies(graph) for node in body.wiring.nodes]


def links_in_bodies(graphs: Sequence[gs.Graph], found: Iterable[BodyDiff]) -> Iterator[LinkEntry]:
    """Yield what became of the nodes of bodies of the first graph in the second."""
    places = [{body.path: body.first for body in _bodies(graph)} for graph in graphs]
    for each in found:
        if each.before in places[0] and each.after in places[1]:
            yield from body_links(each, places[0][each.before], places[1][each.after])


def _bodies(graph: gs.Graph) -> list[_PlacedBody]:
    """Return the bodies of `graph`, those of a node before those in them."""
    outer = Wiring(graph, graph)
    found: list[_PlacedBody] = []
    waiting: list[tuple[BodyPath, Wiring, int]] = [((), outer, 0)]
    place = len(outer)
    while waiting:
        path, wiring, first = waiting.pop(0)
        for index, node in enumerate(wiring.nodes):
            for name, body in node.attrs.items():
                if isinstance(body, gs.Graph):
                    inner = _PlacedBody(
                        (*path, (index, name)), Wiring(body, graph), place, first + index
                    )
                    found.append(inner)
                    waiting.append((inner.path, inner.wiring, place))
                    place += len(inner.wiring)
    return found


def _extended(entry: GraphEntry, graph: gs.Graph, bodies: Sequence[_PlacedBody]) -> GraphEntry:
    """Return `entry` with the nodes of `bodies` behind its own, and groups of them."""
    made = {id(tensor): -1 - place for place, tensor in enumerate(graph.inputs)}
    for wiring, first in [(Wiring(graph, graph), 0), *((b.wiring, b.first) for b in bodies)]:
        for index, node in enumerate(wiring.nodes):
            made.update((id(tensor), first + index) for tensor in node.outputs)
    types = infer_types(graph)
    nodes = list(entry.nodes)
    for body in bodies:
        name = body.path[-1][1]
        for index, node in enumerate(body.wiring.nodes):
            own = node_entry(body.wiring, index, types)
            nodes.append(
                replace(
                    own,
                    inputs=_read(node.inputs, made),
                    body=f"{name} of '{nodes[body.holder].name}'",
                )
            )
    for body in bodies:
        holder = nodes[body.holder]
        given = _read(body.wiring.scope.outputs, made)
        inputs = tuple(dict.fromkeys((*holder.inputs, *given)))
        nodes[body.holder] = replace(holder, inputs=inputs)
    return replace(entry, nodes=tuple(nodes), groups=_groups(entry, bodies, nodes))


def _read(tensors: Iterable[gs.Tensor], made: dict[int, int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(made[id(t)] for t in tensors if t.name and id(t) in made))


def _groups(
    entry: GraphEntry, bodies: Sequence[_PlacedBody], nodes: Sequence[NodeEntry]
) -> tuple[GroupEntry, ...]:
    """Return the groups of `entry`, which take bodies along, and one of each other holder."""
    outermost: dict[int, int] = {}
    inside: dict[int, list[int]] = {}
    for body in bodies:
        holder = outermost.get(body.holder, body.holder)
        own = range(body.first, body.first + len(body.wiring))
        outermost.update(dict.fromkeys(own, holder))
        inside.setdefault(holder, []).extend(own)
    groups = list(entry.groups)
    place_of = {node: place for place, group in enumerate(groups) for node in group.nodes}
    for holder, held in inside.items():
        if holder in place_of:
            group = groups[place_of[holder]]
            groups[place_of[holder]] = replace(group, nodes=(*group.nodes, *held))
        elif held:
            groups.append(GroupEntry(kind=BODY, label=nodes[holder].op, nodes=(holder, *held)))
    return tuple(groups)
