"""A region of operators that work in any layout, and what each choice of layout costs.

Every value v of the region has an order: in the other layout it is transpose(v, order[v]). Each
node of the region works in the layout it has (label 0) or in the other (label 1). A value that is
needed in a layout it does not come in costs one Transpose and the bytes it moves; the cheapest
labels are a minimum cut. Unknown sizes count as `NOMINAL`, wherever they stand: a price that
depended on the order of the axes would make the same Transpose cheaper on its other side, again and
again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.axes.permutation import (
    Order,
    induced,
    inverse,
    is_identity,
    moves_only_ones,
    perm_of,
    permuted,
    then,
)
from ....ir.ops.axes.ports import LayoutChange, Ports
from ....ir.ops.quantization.nodes import is_dequantizer
from ....ir.ops.traits import Movement, traits_of
from .cost import Cost, Payment
from .minimum_cut import ONE, ZERO

NOMINAL = 32
# Softmax over another axis than the last is done between two Transposes inside the kernel.
_COPIES = 2
# On ONNX Runtime, Tile along the last axis takes 32 times as long as a Transpose of as many bytes.
_BY_ELEMENT = 32
# DepthToSpace is five movements.
_MOST_MOVES = 8

PortsOf = Callable[[gs.Node], Ports | None]
ScopeOf = Callable[[gs.Node], gs.Graph | None]


@dataclass
class RegionNode:
    """A node of the region: the order of its axes in the other layout, and what changes then."""

    node: gs.Node
    ports: Ports
    order: Order
    change: LayoutChange


@dataclass(kw_only=True)
class LayoutRegion:
    """Nodes that could work in another layout, and the values between and around them."""

    view: View
    scope_of: ScopeOf
    members: list[RegionNode] = field(default_factory=list)
    number: dict[int, int] = field(default_factory=dict)  # id of a node -> its place in members
    order: dict[int, Order] = field(default_factory=dict)  # id of a value -> its order
    values: list[gs.Tensor] = field(default_factory=list)

    def member_at(self, node: gs.Node | None) -> RegionNode | None:
        """Return `node` as a member, if it is one."""
        place = None if node is None else self.number.get(id(node))
        return None if place is None else self.members[place]

    def source(self, value: gs.Tensor) -> tuple[gs.Tensor, Order] | None:
        """Return x and the order in which `value`, a Transpose's result, is x in the other layout.

        An identity means that the other layout of `value` is x itself.
        """
        node = self.view.producer(value)
        perm = perm_of(node, self.view)
        if node is None or perm is None or not is_identity(self.order.get(id(node.inputs[0]), ())):
            return None  # what is itself a value of the region is accounted for as one
        return node.inputs[0], then(perm, self.order[id(value)])

    def exits(self, value: gs.Tensor) -> list[gs.Node]:
        """Return the Transposes whose result is `value` in the other layout."""
        return [
            reader
            for reader in self.view.readers(value)
            if perm_of(reader, self.view) == self.order[id(value)] and self.inside(reader)
        ]

    def inside(self, node: gs.Node) -> bool:
        """Say whether `node` stands in the graph of the region, not in a body inside it."""
        return self.scope_of(node) is self.view.scope

    def is_neutral(self, reader: gs.Node) -> bool:
        """Say whether `reader` can read either layout: a Shape, or a Transpose of known order."""
        known = reader.op == "Shape" and is_standard(reader)
        return (known or perm_of(reader, self.view) is not None) and self.inside(reader)

    def _is_wanted(self, transpose: gs.Node) -> bool:
        """Say whether more than the shape of its result is read: else the Transpose is to go."""
        result = transpose.outputs[0]
        readers = self.view.readers(result)
        return self.view.is_output(result) or not all(map(self.is_neutral, readers))

    def reads_as_data(self, reader: RegionNode, value: gs.Tensor) -> bool:
        """Say whether `reader` reads `value` only where its layout matters."""
        return all(
            position in reader.ports.inputs
            for position, tensor in enumerate(reader.node.inputs)
            if tensor is value
        )

    def price(self, value: gs.Tensor, order: Order) -> Cost:
        """Return what a Transpose costs: no bytes where only axes of size one move."""
        moved = 0 if moves_only_ones(self.view.shape(value), order) else self._size(value)
        return Cost(moved, 1)

    def _size(self, value: gs.Tensor) -> int:
        found = self.view.type(value)
        if found is None or found.shape is None:
            return NOMINAL**3
        sizes = (dim if isinstance(dim, int) else NOMINAL for dim in found.shape)
        return dtypes.byte_size(math.prod(sizes), found.dtype)

    def moves_blocks_of_integers(self) -> bool:
        """Say whether values behind a pair are taken apart in it, as DepthToSpace does.

        ONNX Runtime computes integer layers with channels last: Transposes to that and back cost
        nothing beside them, and one between moves rows of channels. Of channels that come first it
        moves single bytes (two transposed convolutions of 64 channels: 1.8 ms; so 5.8).
        """
        ranks = {self.view.rank(value) for value in self.values}
        return len(ranks) > 1 and any(map(self._is_of_integers, self.values))

    def _is_of_integers(self, value: gs.Tensor) -> bool:
        """Say whether a pair gives `value`, or what it was moved from."""
        for _ in range(_MOST_MOVES):
            node = self.view.producer(value)
            if node is None or is_dequantizer(node):
                return node is not None
            traits = traits_of(node, self.view.opset)
            if traits.movement > Movement.TAKE or len(traits.data_of(len(node.inputs))) != 1:
                return False
            value = node.inputs[traits.data_of(len(node.inputs))[0]]
        return False

    def payments(self) -> list[Payment]:
        """Return what the labels of the members decide."""
        found: list[Payment] = []
        for number, member in enumerate(self.members):
            found += self._own_payments(number, member)
        for value in self.values:
            found += self._value_payments(value)
        return found

    def _own_payments(self, number: int, member: RegionNode) -> list[Payment]:
        found: list[Payment] = []
        ports = member.ports
        size = self._size(member.node.outputs[0])
        for last, label in ((ports.rank - 1, ONE), (member.order[-1], ZERO)):
            if ports.wants_last not in (None, last):
                found.append(Payment(Cost(_COPIES * size, 0), (number, label)))
            if last in ports.repeated:
                found.append(Payment(Cost(_BY_ELEMENT * size, 0), (number, label)))
        for position in ports.loose:
            operand = member.node.inputs[position]
            if not self.view.is_constant(operand):
                found.append(Payment(self._price_of_loose(operand, member), (number, ZERO)))
        return found

    def _price_of_loose(self, operand: gs.Tensor, member: RegionNode) -> Cost:
        shape = self.view.shape(operand)
        if shape is None or not shape:
            return Cost(0, 0)
        aligned = (1,) * (member.ports.rank - len(shape)) + shape
        moved = 0 if moves_only_ones(aligned, member.order) else self._size(operand)
        return Cost(moved, 1)

    def _value_payments(self, value: gs.Tensor) -> list[Payment]:
        order = self.order[id(value)]
        parties: list[int] = []
        fixed: list[int] = []
        if self.view.is_output(value):
            fixed.append(ZERO)
        if any(map(self._is_wanted, self.exits(value))):
            fixed.append(ONE)
        for reader in self.view.readers(value):
            member = self.member_at(reader)
            if member is not None:
                parties.append(self.number[id(reader)])
            neutral = member is None and self.is_neutral(reader)
            if not neutral and (member is None or not self.reads_as_data(member, value)):
                fixed.append(ZERO)
        producer = self.view.producer(value)
        price = self.price(value, order)
        own = None if producer is None else self.number.get(id(producer))
        if own is not None:
            return [Payment(price, (own, *parties, *fixed)), *self._neutral_payments(value, own)]
        source = self.source(value)
        if source is None:
            return [Payment(price, (ZERO, *parties, *fixed))]
        if is_identity(source[1]):
            return [Payment(price, (ONE, *parties, *fixed))]
        today = then(source[1], inverse(order))  # what the Transpose that is there does
        return [
            Payment(self.price(source[0], today), (ONE, *parties, *fixed)),
            Payment(self.price(*source), (ZERO, *parties, *fixed)),
        ]

    def _neutral_payments(self, value: gs.Tensor, own: int) -> list[Payment]:
        """Return what Transposes that read a member's result cost from either layout of it."""
        order = self.order[id(value)]
        found: list[Payment] = []
        for reader in self.view.readers(value):
            perm = perm_of(reader, self.view)
            if perm is None or perm == order or not self.inside(reader):
                continue
            moved = then(inverse(order), perm)
            today, other = self.price(value, perm), self._moved_price(value, order, moved)
            found += [Payment(today, (own, ONE)), Payment(other, (own, ZERO))]
        return found

    def _moved_price(self, value: gs.Tensor, order: Order, perm: Order) -> Cost:
        """Return what transposing the other layout of `value` costs."""
        shape = self.view.shape(value)
        alone = moves_only_ones(None if shape is None else permuted(shape, order), perm)
        return Cost(0 if alone else self._size(value), 1)


def grow(
    seed: gs.Tensor, order: Order, view: View, ports_of: PortsOf, scope_of: ScopeOf
) -> LayoutRegion:
    """Return the region around `seed`: all that a change of its layout can reach."""
    region = LayoutRegion(view=view, scope_of=scope_of)
    region.order[id(seed)] = order
    region.values.append(seed)
    queue = deque([seed])
    while queue:
        value = queue.popleft()
        producer = view.producer(value)
        around = [*([] if producer is None else [producer]), *view.readers(value)]
        for node in around:
            if id(node) in region.number or not region.inside(node):
                continue
            member = _admitted(region, node, value, ports_of)
            if member is None:
                continue
            region.number[id(node)] = len(region.members)
            region.members.append(member)
            for tensor, axes in _data_of(member, view):
                own = induced(member.order, axes)
                if id(tensor) in region.order:
                    continue
                region.order[id(tensor)] = own
                if not is_identity(own):
                    region.values.append(tensor)
                    queue.append(tensor)
    return region


def _data_of(member: RegionNode, view: View) -> list[tuple[gs.Tensor, tuple[int, ...]]]:
    node, ports = member.node, member.ports
    return [
        *((node.inputs[i], axes) for i, axes in ports.inputs.items() if _varies(node, i, view)),
        *((node.outputs[i], axes) for i, axes in ports.outputs.items()),
    ]


def _varies(node: gs.Node, position: int, view: View) -> bool:
    return not view.is_constant(node.inputs[position])


def _admitted(
    region: LayoutRegion, node: gs.Node, value: gs.Tensor, ports_of: PortsOf
) -> RegionNode | None:
    """Return `node` as a member, if it can follow `value` and agrees with the values known."""
    ports = ports_of(node)
    if ports is None:
        return None
    touching = [
        *((t, ports.inputs[i]) for i, t in enumerate(node.inputs) if i in ports.inputs),
        *((t, ports.outputs[i]) for i, t in enumerate(node.outputs) if i in ports.outputs),
    ]
    known = region.order[id(value)]
    whole = (ports.whole(axes, known) for tensor, axes in touching if tensor is value)
    order = next((found for found in whole if found is not None), None)
    change = None if order is None else ports.rebuild(order)
    if order is None or change is None:
        return None
    member = RegionNode(node, ports, order, change)
    for tensor, axes in _data_of(member, region.view):
        if region.order.get(id(tensor), own := induced(order, axes)) != own:
            return None
    return member
