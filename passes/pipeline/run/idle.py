"""What a run says of an approximate pass that left alone what it was asked to change."""

from __future__ import annotations

from collections import Counter

import onnx_graphsurgeon as gs

from ....ir.core.variables import label
from ...analysis.constants.computed import computed_from_constants
from ...engine.context import Context


def idle_remarks(graph: gs.Graph, context: Context, edits: int) -> tuple[str, ...]:
    """Return what to tell of a pass over `graph` beside what it told itself.

    Sites that were left alone while weights or biases of theirs are computed from constants, as
    exporters write them, are worth another pass first. A pass that did nothing says why.
    """
    found = []
    computed = _with_computed_operands(graph, context)
    if computed:
        sites = f"{computed} nodes were" if computed > 1 else "a node was"
        found.append(
            f"{sites} left alone with an operand that is computed from constants; run the preset "
            "simplify before, which computes it"
        )
    if not edits and not context.remarks and not found:
        found.append(_reasons(context))
    return tuple(found)


def _with_computed_operands(graph: gs.Graph, context: Context) -> int:
    """Return how many nodes that were declined, by their names, read what folding would make."""
    declined = {each.node for each in context.declined}
    if not declined:
        return 0
    view, known = context.view(), dict[int, bool]()
    return sum(
        label(node) in declined
        and any(
            not view.is_constant(t) and computed_from_constants(t, view, known)
            for t in node.inputs[1:]
            if t.name
        )
        for node in graph.nodes
    )


def _reasons(context: Context) -> str:
    reasons = Counter(decline.reason for decline in context.declined)
    if not reasons:
        return "nothing was done: there is nothing in the graph that it changes"
    reason, count = reasons.most_common(1)[0]
    others = f", and {len(reasons) - 1} other reasons" if len(reasons) > 1 else ""
    sites = sum(reasons.values())
    return f"nothing was done: of {sites} sites, at {count} {reason}{others}"
