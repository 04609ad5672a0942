"""In which order layers go back to float: most noise for the least time first.

Noise powers of layers quantized alone add up nearly to that of all together; leaving one out says
little beside the noise of the others. Time is not a layer's own: next to one that is float already
a border moves, elsewhere two new ones appear.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import onnx_graphsurgeon as gs

from .....ir.core.variables import node_key
from .....ir.graph.view import View
from ...qdq.units import MOVEMENT, Unit
from .gains import IntegerGains

# Losses below this part of the whole time are noise, and as good as none.
_LEAST_LOSS = 1e-3
# Layers with less than this part of all noise do not matter.
_LEAST_NOISE = 0.05


class PrecisionBorders:
    """The layers at each tensor, and which tensors float and integer layers share."""

    def __init__(self, layers: Sequence[Unit], view: View, gains: IntegerGains) -> None:
        self._gains = gains
        self.tensors: dict[str, tuple[str, ...]] = {}
        self._at: dict[str, list[str]] = defaultdict(list)
        self._outside: set[str] = set()
        own = {id(n) for unit in layers for n in (unit.node, unit.bounded) if n is not None}
        for unit in layers:
            key = node_key(unit.node)
            made = {t.name: t for t in (*unit.inputs, *unit.outputs)}
            self.tensors[key] = tuple(made)
            for name, tensor in made.items():
                self._at[name].append(key)
                if _is_float_outside(tensor, view, own):
                    self._outside.add(name)

    def neighbours(self, key: str) -> set[str]:
        """Return the layers that share a tensor with `key`."""
        return {other for name in self.tensors[key] for other in self._at[name]} - {key}

    def loss(self, key: str, floats: set[str]) -> float:
        """Return the seconds lost when `key` goes back to float after `floats`."""
        lost = self._gains.layers[key]
        for name in self.tensors[key]:
            others = [other for other in self._at[name] if other != key]
            is_integer = any(other not in floats for other in others)
            is_float = name in self._outside or any(other in floats for other in others)
            # Before: a border where it is float elsewhere; afterwards: where others are integer.
            lost += (int(is_integer) - int(is_float)) * self._gains.crossings[name]
        return lost


def order_to_float(
    noise: Mapping[str, float], gains: IntegerGains, borders: PrecisionBorders
) -> list[str]:
    """Return all layers, most noise removed per second lost first."""
    floor = _LEAST_LOSS * sum(abs(seconds) for seconds in gains.layers.values()) or 1.0
    floats: set[str] = set()
    order: list[str] = []
    version = dict.fromkeys(noise, 0)

    def entry(key: str) -> tuple[float, float, str, int]:
        worth = noise[key] / max(borders.loss(key, floats), floor)
        return -worth, -noise[key], key, version[key]

    heap = [entry(key) for key in noise]
    heapq.heapify(heap)
    while heap:
        *_, key, seen = heapq.heappop(heap)
        if key in floats or seen != version[key]:
            continue
        floats.add(key)
        order.append(key)
        for other in borders.neighbours(key) - floats:
            version[other] += 1
            heapq.heappush(heap, entry(other))
    return order


def affordable(
    noise: Mapping[str, float], gains: IntegerGains, borders: PrecisionBorders, share: float
) -> frozenset[str]:
    """Return the layers that go back to float for at most `share` of the time all of them save.

    Layers go alone or with a neighbour: what both of them read and make is quantized for either one
    of them. Most noise for the least time first; what adds little noise is not worth a border.
    """
    budget = share * sum(max(seconds, 0.0) for seconds in gains.layers.values())
    floor = _LEAST_LOSS * sum(abs(seconds) for seconds in gains.layers.values()) or 1.0
    least = _LEAST_NOISE * sum(noise.values())
    groups = [
        (key, other)
        for key in noise
        for other in (key, *sorted(borders.neighbours(key)))
        if noise[key] + noise[other] * (other != key) >= least
    ]

    def worth(group: tuple[str, str]) -> float:
        removed = sum(noise[key] for key in set(group))
        return removed / max(joint_loss(group, set(), borders), floor)

    floats: set[str] = set()
    for group in sorted(groups, key=lambda g: (-worth(g), g)):
        loss = max(joint_loss(group, floats, borders), 0.0)
        if sum(noise[key] for key in set(group) - floats) >= least and loss <= budget:
            budget -= loss
            floats.update(group)
    return frozenset(floats)


def joint_loss(group: Iterable[str], floats: set[str], borders: PrecisionBorders) -> float:
    """Return the seconds lost when all of `group` go back to float after `floats`."""
    gone, lost = set(floats), 0.0
    for key in group:
        if key not in gone:
            lost += borders.loss(key, gone)
            gone.add(key)
    return lost


def _is_float_outside(tensor: gs.Tensor, view: View, own: set[int]) -> bool:
    """Say whether something other than `own` layers and movements reads or makes `tensor`."""
    producer = view.producer(tensor)
    around = [*view.readers(tensor), *([] if producer is None else [producer])]
    if producer is None or view.is_output(tensor):
        return True
    return any(id(node) not in own and node.op not in MOVEMENT for node in around)
