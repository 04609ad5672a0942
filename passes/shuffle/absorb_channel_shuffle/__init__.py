"""Carry channel permutations into weights, so that shuffles and what is around them dissolve.

    W (P x) = (W P) x      (P W) x = P (W x)      f(P x) = P f'(x)

for a permutation P of channels, a linear operator W with one group, and a channelwise f (depthwise
convolution, activation, pooling, BatchNormalization, ...), whose own constants f' holds permuted.

Every channel is followed from the operator that gives it, through Concat, Split, Slice, Gather and
channel shuffles, to those that compute with it. Producers then give their channels grouped by
reader, readers take them in the order in which they lie, and what is left to move are whole pieces:
in a stage of ShuffleNetV2 one Split behind and one Concat before each unit, a third of the bytes of
the Concat, Transpose and Split they replace. A grouped convolution keeps its groups, so between two
of them, as in ShuffleNetV1, the shuffle's movement is real: only a dense weight, with as many times
the multiplications as there are groups, would take it in. It becomes one Gather of planes, after
the depthwise convolution, where a stride has left a quarter of the elements.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError
from ....ir.graph.edit import Edit
from ....ir.graph.uses import scopes
from ....ir.graph.view import View
from ....ir.ops.traits.groups import BROADCASTING
from ...analysis.sizes.shape_arithmetic import ShapeArithmetic
from ...engine.context import Context
from ...engine.contract import Pass
from ..roles import permute
from ..routes import PICKING_OPS, ChannelRoute, read_route
from .flow import ChannelFlow, read_flow
from .moves import MoveCost, Moves
from .orders import OrderRequest, Orders, solve

# What is left of a shuffle; nothing is to be won where there is none.
_LEFT = PICKING_OPS | {"Transpose"}


@dataclass(frozen=True)
class AbsorbChannelShuffle(Pass):
    """Absorb channel shuffles, Split and Concat of channels into the weights around them.

    A region of the graph is changed only where that copies no more elements than before.
    """

    name: ClassVar[str] = "absorb-channel-shuffle"

    def starts_at(self) -> frozenset[str]:
        """Return what moves channels."""
        return _LEFT

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Solve each scope until no region gets better."""
        for scope in list(scopes(graph)):
            if not any(node.op in _LEFT for node in scope.nodes):
                continue
            before = -1
            # A Gather that is left may stand before what the next solution finds free to move.
            while context.edits > before:
                before = context.edits
                with context.editing() as edit:
                    _run_scope(context.view(scope), edit, context)


def _run_scope(view: View, edit: Edit, context: Context) -> None:
    routes = _routes(view, context)
    while any(route.nodes[-1].op != "Concat" for route in routes.values()):
        flow = read_flow(view, routes)
        orders = solve(flow)
        moves = Moves(orders)
        moves.plan(request.slots for request in orders.requests)
        before, after = _costs_now(flow), moves.costs()
        kept = {
            region
            for region, cost in before.items()
            if not after.get(region, MoveCost()).better_than(cost)
        }
        if not kept:
            _apply(flow, orders, moves, edit, context)
            return
        # What does not pay is an obstacle for the rest: its movers want their channels as they are.
        for route in flow.routes:
            if _region(flow, route) in kept:
                del routes[id(route.nodes[-1])]
                if route.is_shuffle:
                    context.decline(
                        route.nodes[-1], "moving its channels any other way costs as much"
                    )


def _routes(view: View, context: Context) -> dict[int, ChannelRoute]:
    sizes = ShapeArithmetic()
    routes: dict[int, ChannelRoute] = {}
    for node in view.scope.nodes:
        if node.op in BROADCASTING:
            sizes.shape(node.outputs[0], view)  # learns what is common to the sizes of both
        try:
            route = read_route(node, view, sizes)
        except DeclinedError as reason:
            context.decline(node, str(reason))
            continue
        if route is not None:
            routes[id(node)] = route
    return routes


def _region(flow: ChannelFlow, route: ChannelRoute) -> int:
    return flow.region(int(flow.sources[id(route.outputs[0])].roots[0]))


def _costs_now(flow: ChannelFlow) -> dict[int, MoveCost]:
    costs: dict[int, MoveCost] = defaultdict(MoveCost)
    for route in flow.routes:
        root = int(flow.sources[id(route.outputs[0])].roots[0])
        copied = flow.weight(root) * route.copied
        costs[flow.region(root)].add(copied, len(route.nodes))
    return costs


def _apply(flow: ChannelFlow, orders: Orders, moves: Moves, edit: Edit, context: Context) -> None:
    """Change one region after the other, each one edit."""
    requests: dict[int, list[OrderRequest]] = defaultdict(list)
    for request in orders.requests:
        root = int(flow.sources[id(request.tensor)].roots[0])
        requests[flow.region(root)].append(request)
    makers: dict[int, list[gs.Node]] = defaultdict(list)
    for node in flow.nodes:
        if flow.roles[id(node)] is not None:
            root = int(flow.sources[id(node.outputs[0])].roots[0])
            makers[flow.region(root)].append(node)
    routes: dict[int, list[ChannelRoute]] = defaultdict(list)
    for route in flow.routes:
        routes[_region(flow, route)].append(route)
    for region, moved in routes.items():
        if not edit.begin():
            return
        for node in makers[region]:
            _permute_outputs(node, orders, edit)
        # Graph outputs first: what they are read as by others is then there under its own name.
        for request in sorted(requests[region], key=lambda r: r.node is not None):
            _give(request, moves, edit)
        for route in moved:
            context.accept(route.nodes[-1])
        _remove_unread([node for route in reversed(moved) for node in route.nodes[::-1]], edit)


def _permute_outputs(node: gs.Node, orders: Orders, edit: Edit) -> None:
    role = orders.flow.roles[id(node)]
    root = int(orders.flow.sources[id(node.outputs[0])].roots[0])
    order = orders.order_of(root)
    if role is not None and (order != np.arange(len(order))).any():
        permute(node, role.weights_out, order, edit)


def _give(request: OrderRequest, moves: Moves, edit: Edit) -> None:
    """Let the reader, or the graph output, of a request have the channels it asks for."""
    flow = moves.flow
    tensor = request.tensor
    if request.node is not None:
        node, position = request.node, request.position
        role = flow.roles.get(id(node))
        if role is not None and role.is_linear and (np.diff(request.order) != 1).any():
            permute(node, role.weights_in, request.order, edit)
        given = moves.tensor(request.slots, edit, node, None)
        if given is not node.inputs[position]:
            edit.set_input(node, position, given)
        return
    maker = edit.uses.producer(tensor)
    root = moves.whole_root(request.slots)
    if maker is None or (root is not None and flow.is_root(tensor)):
        return
    stand_in = edit.variable(f"{tensor.name}_before", flow.view.type(tensor))
    edit.rename_output(maker, tensor, stand_in)
    if flow.is_root(tensor):
        moves.replace_root(int(flow.sources[id(tensor)].roots[0]), stand_in)
    elif root is not None and not flow.view.is_output(flow.roots[root]):
        source = flow.view.producer(moves.root(root))
        if source is not None:
            edit.rename_output(source, moves.root(root), tensor)
            moves.replace_root(root, tensor)
            return
    moves.tensor(request.slots, edit, maker, tensor)


def _remove_unread(nodes: list[gs.Node], edit: Edit) -> None:
    """Remove those of `nodes` that nothing reads, and what was there for them alone."""
    pending = nodes[::-1]
    while pending:
        node = pending.pop()
        if edit.uses.scope(node) is None or any(
            edit.uses.reads(t) or id(t) in edit.uses.pinned for t in node.outputs
        ):
            continue
        edit.remove(node)
        made = (edit.uses.producer(tensor) for tensor in node.inputs)
        pending.extend(producer for producer in made if producer is not None)
