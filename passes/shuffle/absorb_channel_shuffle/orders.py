"""The physical order of the channels of every root, and what each reader is to be given.

Backwards, channels get keys: two channels of a tensor have one key where the same readers need
them. Forwards, orders: a linear operator gives its channels sorted by key, so that what one reader
needs lies together; a channelwise operator keeps the order it is given. In ShuffleNetV2 that makes
the shuffle a table: each branch's channels are grouped by the unit that will work on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from ..roles import Array
from .flow import ChannelFlow
from .keys import Keys, fixed_demands, keys_of


@dataclass(frozen=True)
class OrderRequest:
    """Input `position` of `node` is to be `tensor` with its channels in `order`.

    `slots` says the same in places of roots. A graph output has no node.
    """

    node: gs.Node | None
    position: int
    tensor: gs.Tensor
    order: Array
    slots: Array


@dataclass
class Orders:
    """The solution: slots `starts[r]` to `starts[r + 1]` are the channels of root r as they lie."""

    flow: ChannelFlow
    starts: Array
    place: Array  # by starts[root] + channel: where that channel lies in the root
    requests: list[OrderRequest] = field(default_factory=list)

    def slots(self, tensor: gs.Tensor) -> Array:
        """Return the slots of the channels of `tensor`, in their own order."""
        source = self.flow.sources[id(tensor)]
        first: Array = self.starts[source.roots]
        slots: Array = first + self.place[first + source.channels]
        return slots

    def order_of(self, root: int) -> Array:
        """Return the channels of a root in their physical order."""
        return np.argsort(self.place[self.starts[root] : self.starts[root + 1]])

    def whole(self, slots: Array) -> int | None:
        """Return the root that `slots` are a permutation of, or None."""
        ordered = np.sort(slots)
        root = int(np.searchsorted(self.starts, ordered[0], side="right")) - 1
        first, after = self.starts[root], self.starts[root + 1]
        exact = len(slots) == after - first and bool((ordered == np.arange(first, after)).all())
        return root if exact else None


def solve(flow: ChannelFlow) -> Orders:
    """Choose orders and collect requests; `Orders.requests` follow the nodes."""
    counts = [flow.channels(root) for root in range(len(flow.roots))]
    starts = np.cumsum([0, *counts])
    place = np.concatenate([np.zeros(0, np.int64), *map(np.arange, counts)])
    orders = Orders(flow, starts, place)
    demands = fixed_demands(flow)
    keys = keys_of(flow, demands)
    free: list[tuple[gs.Node, int]] = []
    movable: dict[int, list[int]] = {}
    for node in flow.nodes:
        role = flow.roles[id(node)]
        if role is None:
            continue
        order = None
        if flow.reads[id(node.outputs[0])] == 1 and id(node.outputs[0]) not in demands:
            _note_movable(node, flow, movable)
        if role.is_linear:
            free.append((node, 0))
            if id(node.outputs[0]) not in demands:
                found = keys.get(id(node.outputs[0]))
                order = None if found is None else np.lexsort(found[::-1])
        else:
            order = _kept_order(node, orders, keys, movable)
            for position in role.data:
                _ask(orders, node, position, node.inputs[position], order)
        if order is not None:
            root = int(flow.sources[id(node.outputs[0])].roots[0])
            orders.place[starts[root] : starts[root + 1]] = np.argsort(order)
    for tensor, readers in demands.values():
        for reader, position in readers:
            length = len(flow.sources[id(tensor)].roots)
            _ask(orders, reader, position, tensor, np.arange(length))
    asked = {id(request.tensor): request.order for request in orders.requests}
    for node, position in free:
        tensor = node.inputs[position]
        order = None if flow.is_root(tensor) else asked.get(id(tensor))
        _ask(orders, node, position, tensor, _close(orders, tensor) if order is None else order)
    return orders


def _ask(
    orders: Orders, node: gs.Node | None, position: int, tensor: gs.Tensor, order: Array
) -> None:
    slots = orders.slots(tensor)[order]
    orders.requests.append(OrderRequest(node, position, tensor, order, slots))


def _note_movable(node: gs.Node, flow: ChannelFlow, movable: dict[int, list[int]]) -> None:
    """Note the roots whose order may still change with that of the result, by id of the result.

    They are a linear operator's and those of the channelwise operators that it alone feeds.
    """
    role = flow.roles[id(node)]
    assert role is not None
    root = int(flow.sources[id(node.outputs[0])].roots[0])
    if role.is_linear:
        movable[id(node.outputs[0])] = [root]
    elif len(role.data) == 1 and id(node.inputs[role.data[0]]) in movable:
        movable[id(node.outputs[0])] = [*movable[id(node.inputs[role.data[0]])], root]


def _kept_order(node: gs.Node, orders: Orders, keys: Keys, movable: dict[int, list[int]]) -> Array:
    """Return the order of what a channelwise operator reads and gives.

    Where its input is one root in any order, it takes the root as it lies: the channels move after
    it, where a stride or a pool has left fewer elements.
    """
    flow = orders.flow
    role = flow.roles[id(node)]
    assert role is not None
    tensors = [node.inputs[position] for position in role.data]
    lying: list[Array | None] = []
    for tensor in tensors:
        slots = orders.slots(tensor)
        grows = role.grows and not flow.is_root(tensor)
        lying.append(None if grows or orders.whole(slots) is None else np.argsort(slots))
    first = lying[0]
    if first is not None and all(o is not None and (o == first).all() for o in lying):
        return first
    held = [o for t, o in zip(tensors, lying, strict=True) if id(t) not in movable]
    wanted = held[0] if held else None
    if wanted is not None and all(o is not None and (o == wanted).all() for o in held):
        # A linear operator beside what lies already gives its channels as that lies.
        for tensor in tensors:
            for root in movable.get(id(tensor), ()):
                orders.place[orders.starts[root] : orders.starts[root + 1]] = np.argsort(wanted)
        return wanted
    for tensor, order in zip(tensors, lying, strict=True):
        if order is not None and flow.is_root(tensor):
            return order
    if role.grows:
        return np.arange(len(orders.slots(tensors[0])))
    key, _ = keys.get(id(tensors[0]), (None, None))
    return _close(orders, tensors[0], key)


def _close(orders: Orders, tensor: gs.Tensor, key: Array | None = None) -> Array:
    """Return the order with the longest runs: by key, then by root, then as the root lies."""
    source = orders.flow.sources[id(tensor)]
    _, first, inverse = np.unique(source.roots, return_index=True, return_inverse=True)
    appearance = first[inverse.reshape(-1)]
    slots = orders.slots(tensor)
    return np.lexsort((slots, appearance, np.zeros(len(slots)) if key is None else key))
