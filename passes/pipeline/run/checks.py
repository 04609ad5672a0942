"""What holds of the graph that a pass leaves, whatever `verify` is."""

from __future__ import annotations

from ....ir.core.errors import PassError
from ....ir.graph.types import Types
from ....ir.graph.wellformed import check
from .apply import Applied
from .interface import InterfacePort, check_interface
from .state import GraphState


def check_left(
    state: GraphState,
    interface: list[InterfacePort] | None,
    applied: Applied,
    before: Types,
    failed_at_sites: bool,
) -> None:
    """Raise PassError where the graph is not well-formed, or not what it must stay.

    `interface`: the inputs and outputs that it must have; `before`: the types before the pass.
    """
    if applied.edits or applied.by_hand or failed_at_sites:
        check(state.graph, sort=applied.by_hand)
        if interface is not None:
            check_interface(interface, state.graph)
    if applied.edits and before.complains and before.problem is None:
        problem = state.analyses.types.problem
        if problem is not None:
            raise PassError(f"types and shapes do not infer any more: {problem}")
