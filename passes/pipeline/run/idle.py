"""What a run says of an approximate pass that left alone what it was asked to change."""

from __future__ import annotations

from collections.abc import Collection

from ....ir.core.variables import label
from ...analysis.constants.computed import computed_from_constants
from ...engine.context import Context
from ...engine.reasons import reasons_in_short


def idle_remarks(context: Context, edits: int, computed: Collection[str]) -> tuple[str, ...]:
    """Return what to tell of a pass beside what it told itself; `context` is the one it was given.

    Nodes that were left alone and are among those `computed_operands` found before the pass are
    worth another pass first. A pass that did nothing says why.
    """
    found = []
    left = len({each.node for each in context.declined}.intersection(computed))
    if left:
        sites = f"{left} nodes were" if left > 1 else "a node was"
        found.append(
            f"{sites} left alone with an operand that is computed from constants; run the preset "
            "simplify before, which computes it"
        )
    if not edits and not context.told_idle:
        reasons = reasons_in_short(context.declined)
        if reasons or not context.remarks:
            reasons = reasons or "there is nothing in the graph that it changes"
            found.insert(0, f"nothing was done: {reasons}")
    return tuple(found)


def computed_operands(context: Context) -> set[str]:
    """Return the nodes that read weights, biases or the like which folding would make constants.

    Exporters write them so: a weight transposed, a bias of zeros in the type of the input.
    """
    view, known = context.view(), dict[int, bool]()
    return {
        label(node)
        for node in context.graph.nodes
        if any(
            not view.is_constant(t) and computed_from_constants(t, view, known)
            for t in node.inputs[1:]
            if t.name
        )
    }
