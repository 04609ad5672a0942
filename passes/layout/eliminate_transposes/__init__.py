"""Cancel Transposes, and move what remains of them to where it costs least.

transpose(transpose(x, p), q) = transpose(x, p q)        nothing where p q is the identity
f(transpose(x, p), ...) = transpose(f'(x, ...), p)       f' = f with its axes renamed

The second equation holds for operators that know no layout: element-wise ones, reductions, Concat,
Split, Slice, Pad, Softmax, ..., and for products: (A B)^T = B^T A^T. Between the operators that
demand one (convolutions, pooling, Reshape) they form regions; which nodes of a region should change
their layout is decided at once, by minimum cuts. Neither the bytes transposed nor the number of
Transposes ever grows, and a network exported with channels last, a Transpose before and after each
convolution, keeps at most one at its input and one at each output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.uses import scopes
from ....ir.graph.view import View
from ....ir.ops.axes.permutation import Order, inverse, is_identity, perm_of
from ....ir.ops.axes.ports import Ports
from ....ir.ops.traits import operators_with
from ....ir.ops.traits.groups import LAYERS, POOLS
from ...engine.context import Context
from ...engine.contract import Pass
from ...engine.rewrite import drive
from .agnostic import ports_of
from .cost import labellings, paid
from .region import LayoutRegion, RegionNode, grow
from .relayout import relayout
from .transposes import MergeTransposes, ReshapeInstead

# Element-wise work after these can be folded into them, once no Transpose stands between.
_WORTH_REACHING = (LAYERS & operators_with(lambda t: t.windowed)) | POOLS | {"BatchNormalization"}


@dataclass(frozen=True)
class EliminateTransposes(Pass):
    """Cancel Transposes against each other through all operators that work in any layout.

    A Transpose that cannot be cancelled moves behind the element-wise operators after a
    convolution, so that these can be folded into it; one that moves only axes of size one becomes
    a Reshape.
    """

    name: ClassVar[str] = "eliminate-transposes"

    def starts_at(self) -> frozenset[str]:
        """Return what is moved."""
        return frozenset({"Transpose"})

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Decide region by region until none gains any more, then spell what remains.

        What has become a Reshape bounds a region, of which others may gain.
        """
        while transposes := len(context.nodes_with(self.starts_at())):
            for _ in range(transposes + 2):  # each round but the last lowers the cost or its place
                if not _decide(graph, context):
                    break
            before = context.edits
            drive(graph, (ReshapeInstead(),), context)
            if context.edits == before:
                return


def _decide(graph: gs.Graph, context: Context) -> int:
    """Merge Transposes, then move them where regions gain; return the number of moves."""
    drive(graph, (MergeTransposes(),), context)
    with context.editing() as edit:
        for scope in list(scopes(graph)):
            if any(node.op == "Transpose" for node in scope.nodes):
                _Scope(scope, edit, context).decide()
    return edit.count


class _Scope:
    """Decides all regions of one graph, each once."""

    def __init__(self, scope: gs.Graph, edit: Edit, context: Context) -> None:
        self._scope, self._edit, self._context = scope, edit, context
        self._view: View = context.view(scope)
        self._ports: dict[int, Ports | None] = {}
        self._seen: set[tuple[int, Order]] = set()

    def decide(self) -> None:
        for node in list(self._scope.nodes):
            perm = perm_of(node, self._view) if self._is_here(node) else None
            if perm is None or is_identity(perm):
                continue
            for value, order in ((node.outputs[0], inverse(perm)), (node.inputs[0], perm)):
                # The region behind the Transpose may have moved it away.
                if self._is_here(node) and (id(value), order) not in self._seen:
                    self._decide_around(value, order, node)

    def _is_here(self, node: gs.Node) -> bool:
        return self._edit.uses.scope(node) is self._scope

    def _decide_around(self, value: gs.Tensor, order: Order, node: gs.Node) -> None:
        if self._view.is_constant(value):
            return
        region = grow(value, order, self._view, self._ports_of, self._edit.uses.scope)
        self._seen.update((id(v), region.order[id(v)]) for v in region.values)
        if not region.members:
            return
        ones = _choice(region)
        if not ones:
            self._context.decline(node, "moving it takes as many Transposes and bytes, or more")
        elif region.moves_blocks_of_integers() and paid(region.payments(), ones).transposes:
            self._context.decline(
                node, "integer layers work with channels last, where it moves whole rows of them"
            )
        elif self._edit.begin():
            relayout(region, ones, self._edit)
            self._context.accept(node)
            self._ports.clear()  # who reads what has changed

    def _ports_of(self, node: gs.Node) -> Ports | None:
        if id(node) not in self._ports:
            self._ports[id(node)] = ports_of(node, self._view)
        return self._ports[id(node)]


def _choice(region: LayoutRegion) -> set[int]:
    """Return which members should work in the other layout: none, where that gains nothing."""
    payments = region.payments()
    today = paid(payments, set())
    found = []
    for ones in labellings(len(region.members), payments):
        cost = paid(payments, ones)
        if cost.better(today):
            return ones
        found.append(ones)
        # Today is as cheap as can be, bytes first, and `ones` has in it all that costs the same.
        if cost == today and len(found) == 1 and not _behind_cancelled(region, ones):
            return set()
    for ones in found:
        behind = _behind_cancelled(region, ones)
        if behind and paid(payments, behind) == today:
            return behind
    return set()


def _behind_cancelled(region: LayoutRegion, ones: set[int]) -> set[int]:
    """Return those of `ones` that read, in the other layout, what is there already.

    They let Transposes move behind them at no cost. Since nothing new is put before them, this
    cannot go on for ever.
    """
    left = set(ones)
    pending = sorted(left)
    cancels = False
    while pending:
        number = pending.pop()
        if number not in left or _reads_what_is_there(region.members[number], region, left):
            continue
        left.discard(number)
        for output in region.members[number].node.outputs:
            pending += [region.number.get(id(r), -1) for r in region.view.readers(output)]
    for number in left:
        for position in region.members[number].ports.inputs:
            cancels = cancels or _is_worth(region, region.members[number].node.inputs[position])
    return left if cancels else set()


def _reads_what_is_there(member: RegionNode, region: LayoutRegion, ones: set[int]) -> bool:
    view = region.view
    for position, tensor in enumerate(member.node.inputs):
        if view.is_constant(tensor):
            continue
        if position in member.ports.loose and view.rank(tensor) != 0:
            return False
        if position not in member.ports.inputs or is_identity(region.order[id(tensor)]):
            continue
        producer = view.producer(tensor)
        if producer is not None and region.number.get(id(producer)) in ones:
            continue
        source = region.source(tensor)
        if source is None or not is_identity(source[1]):
            return False
    return True


def _is_worth(region: LayoutRegion, value: gs.Tensor) -> bool:
    """Say whether `value` is the Transpose of what element-wise work can be folded into."""
    source = None if region.view.is_constant(value) else region.source(value)
    if source is None or not is_identity(source[1]):
        return False
    producer = region.view.producer(source[0])
    if producer is None:
        return False
    reached = is_standard(producer) and producer.op in _WORTH_REACHING
    return reached or ports_of(producer, region.view) is not None
