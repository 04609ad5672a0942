"""Running one pass and counting its edits."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.core.errors import PassError, in_words
from ...engine.context import Context
from ...engine.contract import Pass
from ...engine.fingerprint import count_changes, fingerprint
from ...engine.rewrite import RewritePass
from ..builtin import is_builtin
from .state import GraphState


@dataclass(frozen=True)
class Applied:
    """What a pass did: the number of its edits, and whether some may have been made by hand.

    `touched`: the names of nodes that it removed, added or changed, in order.
    """

    edits: int
    by_hand: bool
    touched: tuple[str, ...] = ()


def apply_pass(item: Pass, state: GraphState, context: Context) -> Applied:
    """Run `item` over the graph of `state`.

    Its edits are those it made through `context.editing()`, whoever wrote it. Where it made none,
    they are what has changed in the graph: a GraphSurgeon script edits by hand.
    """
    if _finds_nothing(item, state):
        return Applied(0, by_hand=False)
    if not may_edit_by_hand(type(item)):
        names = state.analyses.names
        found = _run(item, state.graph, context)
        if found is not None:
            state.take(found)
        touched = _touched(names, state, context) if context.edits else ()
        return Applied(context.edits, by_hand=False, touched=touched)
    if context.limit == 0:  # a script knows no limit: it is run as a whole or not at all
        return Applied(0, by_hand=False)
    return _watched(item, state, context)


def _run(item: Pass, graph: gs.Graph, context: Context) -> gs.Graph | None:
    try:
        return item.run(graph, context)
    except SystemExit as error:  # a script's way to stop is no reason to end the process
        raise PassError(f"{in_words(error)}; return from the pass instead") from error


def _finds_nothing(item: Pass, state: GraphState) -> bool:
    """Say whether the graph has none of the operators that `item` starts at."""
    starts = item.starts_at()
    return starts is not None and starts.isdisjoint(state.analyses.by_op)


def may_edit_by_hand(kind: type[Pass]) -> bool:
    """Say whether a pass of class `kind` may change a graph otherwise than through its context.

    The driver of a `RewritePass` does not, and the passes that come with planish do not.
    """
    return kind.run is not RewritePass.run and not is_builtin(kind)


def _watched(item: Pass, state: GraphState, context: Context) -> Applied:
    marks, types, names = fingerprint(state.graph), state.analyses.types, state.analyses.names
    found = _run(item, state.graph, context)
    graph: gs.Graph = state.graph if found is None else found
    edits = context.edits or count_changes(marks, fingerprint(graph))
    # What was made by hand no index has seen.
    state.take(graph, types if found is None and not edits else None)
    return Applied(edits, by_hand=True, touched=_touched(names, state, context) if edits else ())


def _touched(names: frozenset[str], state: GraphState, context: Context) -> tuple[str, ...]:
    """Return what is called otherwise than before, and what was edited under its name."""
    left = state.analyses.names
    return tuple(sorted((names ^ left) | (context.edited_names & left)))
