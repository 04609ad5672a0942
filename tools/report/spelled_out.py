"""A graph with its fused operators spelled out, and which nodes each of them is."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...ir.core.variables import FUSED_DOMAIN, node_key
from ...ir.graph.clone import clone
from ...ir.graph.edit import Edit
from ...ir.graph.functions import fused_functions
from ...ir.graph.inline import CallInliner
from ...ir.graph.parts import written_out_of


@dataclass(frozen=True)
class SpelledOut:
    """The graph, and the parts of each call by its name and operator."""

    graph: gs.Graph
    calls: tuple[tuple[str, str, tuple[gs.Node, ...]], ...]


def spell_out(graph: gs.Graph) -> SpelledOut:
    """Return a copy of `graph` in which the calls of its outermost scope are written out.

    Those inside of bodies stay calls. Nodes have the names that a portable file gives them, and
    what such a file has written out already is told likewise.
    """
    made = clone(graph)
    bodies = {function.name: function for function in fused_functions(made)}
    calls = [node for node in made.nodes if node.domain == FUSED_DOMAIN and node.op in bodies]
    found = []
    with Edit(made) as edit:
        inliner = CallInliner(edit, keep_parts=True)
        for call in calls:
            name, operator = node_key(call), str(call.op)
            found.append((name, operator, tuple(inliner.inline(call, bodies[operator]))))
    known = {id(node) for _, _, nodes in found for node in nodes}
    found += _written_out(made, known)
    return SpelledOut(made, tuple(found))


def _written_out(graph: gs.Graph, known: set[int]) -> list[tuple[str, str, tuple[gs.Node, ...]]]:
    """Return the calls that a file spells out: marked nodes that read one another.

    A call begins where its first operator comes again.
    """
    groups: list[list[gs.Node]] = []
    group_of: dict[int, int] = {}
    functions: dict[int, str] = {}
    for node in graph.nodes:
        function = None if id(node) in known else written_out_of(node)
        if function is None:
            continue
        read = (producer for tensor in node.inputs for producer in tensor.inputs)
        of_same = {
            group_of[id(each)]
            for each in read
            if functions.get(id(each)) == function and groups[group_of[id(each)]][0].op != node.op
        }
        # A sum reads what a call before gave as well: the last to begin is its own.
        place = max(of_same, default=len(groups))
        if place == len(groups):
            groups.append([])
        group = groups[place]
        group.append(node)
        group_of[id(node)] = place
        functions[id(node)] = function
    return [
        (node_key(group[-1]), functions[id(group[0])], tuple(group))
        for group in groups
        if len(group) > 1
    ]
