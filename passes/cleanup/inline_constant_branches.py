"""Replace an If whose condition is known by the branch that is taken.

If(true; f, g) = f        If(false; f, g) = g      (ONNX operator If)

The condition is computed here, and the If is gone in the same edit: ONNX Runtime inlines an If with
a constant condition itself, so a file must not hold one that fold-constants has decided.

An If with branches of different types hides what comes after it from inference: the AffineGrid of
ONNX's own definition gives Range a tensor of shape [1], which runtimes compute as long as they do
not know that shape, and reject once they do. So inlining is tried on a copy of the graph first, and
left out where types do not infer afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.variables import is_standard
from ...ir.graph.clone import clone
from ...ir.graph.types import Types
from ...ir.graph.uses import scopes
from ..analysis.constants.evaluation import constant_values
from ..engine.analyses import Analyses
from ..engine.context import Context
from ..engine.contract import Pass
from .inlining import Inliner

# Where not all conditions together are safe, so many are tried one by one.
_MOST_TRIALS = 32


@dataclass(frozen=True)
class InlineConstantBranches(Pass):
    """Replace an If whose condition follows from constants and static shapes by its branch.

    Nested ones too: a branch that was inlined may decide others, by its constants or its shapes.
    Left alone where the branch shows a shape that later operators do not admit.
    """

    name: ClassVar[str] = "inline-constant-branches"

    def starts_at(self) -> frozenset[str]:
        """Return what has branches."""
        return frozenset({"If"})

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Inline, infer types again and look at the Ifs that are left, until none is decided."""
        refused: dict[int, gs.Tensor] = {}
        while True:
            before = context.edits
            groups = _decided(graph, context, refused)
            _apply(graph, _safe(graph, groups, context, refused), context)
            if context.edits == before:
                return


@dataclass(frozen=True)
class _Place:
    """An If and the branch that it takes, by position, so that it is found in a copy too."""

    scope: int
    node: int
    branch: str


@dataclass(frozen=True)
class _IfsOfCondition:
    """The Ifs that one condition decides."""

    condition: gs.Tensor
    places: tuple[_Place, ...]


def _decided(graph: gs.Graph, context: Context, refused: Iterable[int]) -> list[_IfsOfCondition]:
    """Return the Ifs whose condition is known, by condition."""
    places: dict[int, list[_Place]] = {}
    conditions: dict[int, gs.Tensor] = {}
    for index, scope in enumerate(scopes(graph)):
        found = [i for i, n in enumerate(scope.nodes) if n.op == "If" and is_standard(n)]
        if not found:
            continue
        view = context.view(scope)
        known = constant_values((scope.nodes[i].inputs[0] for i in found), view)
        for position in found:
            node = scope.nodes[position]
            condition = node.inputs[0]
            value = known.get(id(condition))
            if value is None or value.size != 1:
                context.decline(node, "its condition depends on the inputs")
            elif id(condition) not in refused:
                conditions[id(condition)] = condition
                branch = "then_branch" if value.item() else "else_branch"
                places.setdefault(id(condition), []).append(_Place(index, position, branch))
    return [_IfsOfCondition(conditions[key], tuple(found)) for key, found in places.items()]


def _safe(
    graph: gs.Graph, groups: list[_IfsOfCondition], context: Context, refused: dict[int, gs.Tensor]
) -> list[_IfsOfCondition]:
    """Return the groups after whose inlining types still infer."""
    if not groups or context.infer().problem or not _problem(graph, groups):
        return groups
    safe: list[_IfsOfCondition] = []
    every = list(scopes(graph))
    for count, group in enumerate(groups):
        problem = _problem(graph, [*safe, group]) if count < _MOST_TRIALS else "not tried"
        if problem is None:
            safe.append(group)
            continue
        refused[id(group.condition)] = group.condition
        for place in group.places:
            node = every[place.scope].nodes[place.node]
            context.decline(node, f"types would not infer without it: {problem}")
    return safe


def _problem(graph: gs.Graph, groups: Sequence[_IfsOfCondition]) -> str | None:
    """Inline in a copy of `graph`; return what inference says against it, or None."""
    copy = clone(graph)
    context = Context(copy, known=Analyses(copy, Types()))  # no type is asked for
    _apply(copy, groups, context)
    return context.infer().problem


def _apply(graph: gs.Graph, groups: Sequence[_IfsOfCondition], context: Context) -> None:
    """Put the branches of `groups` in the place of their Ifs, outer scopes first."""
    every = list(scopes(graph))
    places = [place for group in groups for place in group.places]
    with context.editing() as edit:
        for place in sorted(places, key=lambda place: (place.scope, place.node)):
            scope = every[place.scope]
            node = scope.nodes[place.node]
            # One inside a branch that was inlined is a copy now: its turn is in the next round.
            if edit.uses.scope(node) is None or not edit.begin():
                continue
            targets = list(node.outputs)
            edit.remove(node)
            inliner = Inliner(node, edit, context.view(scope))
            inliner.deliver(inliner.copy(node.attrs[place.branch], (), targets), targets)
            context.accept(node)
