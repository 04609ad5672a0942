"""Operators on integers whose borders cost more than they save.

    an operator stays float where pairs(on integers) > pairs(in float)
                               or, of two operands, where they are equal

Arithmetic is worth integers among integers: where its operands are there as such, or its result is
needed so. Between float operators it would take a pair for each operand and one behind, which cost
time and accuracy. Layers and MatMuls are worth their pairs. A product or sum of two tensors takes
as long either way, and in float it rounds once less: what gates a HardSwish comes in float.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ..qdq.units import Unit, is_constant_data

# Each round sees what the one before has left in float; chains peel from their ends.
_MOST_ROUNDS = 50


def not_worth(units: Sequence[Unit], view: View) -> list[Unit]:
    """Return the arithmetic among `units`, in graph order, that is cheaper in float."""
    chosen = {id(unit) for unit in units if not unit.is_follower}
    for unit in _without_layers(units):
        chosen.discard(id(unit))
    free = [unit for unit in units if not (unit.is_follower or unit.is_linear or unit.is_product)]
    for _ in range(_MOST_ROUNDS):
        borders = _Borders(units, chosen, view)
        leave = [unit for unit in free if id(unit) in chosen and borders.is_dearer(unit)]
        if not leave:
            break
        chosen.difference_update(map(id, leave))
    return [unit for unit in free if id(unit) not in chosen]


def _without_layers(units: Sequence[Unit]) -> list[Unit]:
    """Return the units that no linear layer is joined with, directly or over other units."""
    group: dict[int, int] = {}
    parent = list(range(len(units)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for place, unit in enumerate(units):
        for tensor in (*unit.inputs, *unit.outputs):
            parent[root(place)] = root(group.setdefault(id(tensor), place))
    linear = {root(place) for place, unit in enumerate(units) if unit.is_linear or unit.is_product}
    return [unit for place, unit in enumerate(units) if root(place) not in linear]


class _Borders:
    """Where integers would be with the units `chosen`, by id: who makes and who reads them."""

    def __init__(self, units: Sequence[Unit], chosen: set[int], view: View) -> None:
        self._view = view
        self._made: set[int] = set()  # tensors that are there as integers
        self._readers: dict[int, set[int]] = {}  # of each tensor, the nodes that read integers
        for unit in units:
            whole = all(self._is_there(tensor) for tensor in unit.inputs)
            if id(unit) in chosen or (unit.is_follower and whole):
                self._made.update(map(id, unit.outputs))
        for unit in reversed(units):
            needed = any(self._readers.get(id(tensor)) for tensor in unit.outputs)
            if id(unit) in chosen or (unit.is_follower and needed):
                for tensor in unit.inputs:
                    self._readers.setdefault(id(tensor), set()).add(id(unit.node))

    def is_dearer(self, unit: Unit) -> bool:
        """Say whether `unit` takes more pairs on integers than in float."""
        own = id(unit.node)
        inputs = {id(tensor): tensor for tensor in unit.inputs}.values()
        quantized = [t for t in inputs if not self._is_there(t) and not self._others(t, own)]
        restored = [t for t in inputs if self._is_there(t) and not self._in_float(t, own)]
        whole = len(quantized) + any(self._in_float(tensor, own) for tensor in unit.outputs)
        apart = len(restored) + any(self._others(tensor, own) for tensor in unit.outputs)
        return whole > apart or (whole == apart and len(inputs) > 1)

    def _is_there(self, tensor: gs.Tensor) -> bool:
        return id(tensor) in self._made or is_constant_data(tensor, self._view)

    def _others(self, tensor: gs.Tensor, own: int) -> bool:
        """Say whether another node than `own` reads `tensor` as integers."""
        return bool(self._readers.get(id(tensor), set()) - {own})

    def _in_float(self, tensor: gs.Tensor, own: int) -> bool:
        """Say whether another node than `own` reads `tensor` in float."""
        taken = self._readers.get(id(tensor), set()) | {own}
        readers: Iterable[gs.Node] = self._view.readers(tensor)
        return self._view.is_output(tensor) or any(id(reader) not in taken for reader in readers)
