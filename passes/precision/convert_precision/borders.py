"""Nodes at the border of what becomes narrow that need fewer Casts when they stay float32.

Conv'(Cast(Add(a, b)))       one Cast, where Conv'(Add'(Cast(a), Cast(b))) has two
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from .groups import Entry, read_outside, slot_tensors
from .narrow import Array
from .slots import Slots


def settle_borders(
    nodes: Sequence[Entry], constants: Mapping[int, Array], view: View
) -> list[bool]:
    """Say of each of `nodes` whether it stays chosen; those with constants do."""
    border = _Border(nodes, view)
    chosen = [True] * len(nodes)
    free = [all(id(t) not in constants for t in slot_tensors(*entry)) for entry in nodes]
    pending = deque(index for index in range(len(nodes)) if free[index])
    while pending:
        index = pending.popleft()
        if chosen[index] and border.gain(*nodes[index]) > 0:
            chosen[index] = False
            border.leave_out(*nodes[index])
            for tensor in slot_tensors(*nodes[index]):
                pending.extend(i for i in border.beside[id(tensor)] if free[i] and chosen[i])
    return chosen


class _Border:
    """Which float32 tensors need a Cast: read inside and made outside, or the other way round."""

    def __init__(self, nodes: Sequence[Entry], view: View) -> None:
        self.beside: dict[int, list[int]] = {}
        self._inside: Counter[int] = Counter()
        self._made: set[int] = set()
        self._outside: set[int] = set()
        for index, (node, slots) in enumerate(nodes):
            self._inside.update(id(node.inputs[p]) for p in slots.inputs)
            self._made.update(id(node.outputs[p]) for p in slots.outputs)
            for tensor in slot_tensors(node, slots):
                self.beside.setdefault(id(tensor), []).append(index)
        for node, slots in nodes:
            for tensor in (node.outputs[p] for p in slots.outputs):
                if read_outside(tensor, self._inside[id(tensor)], view):
                    self._outside.add(id(tensor))

    def gain(self, node: gs.Node, slots: Slots) -> int:
        """Return how many Casts fewer there are without `node`."""
        made = {id(node.outputs[p]) for p in slots.outputs}
        reads = Counter(id(node.inputs[p]) for p in slots.inputs)
        gain = sum((key in self._outside) - (self._inside[key] > 0) for key in made)
        for key, count in reads.items():
            if key in self._made:
                gain -= key not in self._outside
            else:
                gain += self._inside[key] == count
        return gain

    def leave_out(self, node: gs.Node, slots: Slots) -> None:
        """Count `node` as outside."""
        self._made -= {id(node.outputs[p]) for p in slots.outputs}
        for key in (id(node.inputs[p]) for p in slots.inputs):
            self._inside[key] -= 1
            self._outside.add(key)
