"""What removing channels saves: multiply-accumulates or weights, exactly, layer by layer.

    cost of a layer  =  its cost  x  (outputs left / outputs)  x  (inputs left / inputs)

A depthwise layer has one factor, for its channels. Layers whose two sides are of two groups cost
less for each channel of one the more of the other have gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import onnx_graphsurgeon as gs

from ...analysis.channels.group import ChannelSlice
from ...analysis.cost import cost
from .channel_units import ChannelUnits

_ROLES = ("makes", "reads", "carries")


class CostModel(Protocol):
    """What channels of rows cost, while they go."""

    whole: float

    def take(self, row: int, channels: int) -> None:
        """Count `channels` of a row as gone."""

    def saves(self, row: int, channels: int) -> float:
        """Return what taking `channels` of a row would save now."""

    def left(self) -> float:
        """Return the cost of what is left."""


class ChannelCount:
    """The number of channels itself."""

    def __init__(self, rows: Sequence[ChannelUnits]) -> None:
        self.whole = float(sum(row.group.channels for row in rows))
        self._left = self.whole

    def take(self, row: int, channels: int) -> None:
        """Count `channels` as gone."""
        self._left -= channels

    def saves(self, row: int, channels: int) -> float:
        """Return `channels`."""
        return float(channels)

    def left(self) -> float:
        """Return how many are left."""
        return self._left


class LayerCosts:
    """The cost of a graph while channels of `rows` go. `each`: the cost of nodes, by id."""

    def __init__(self, each: Mapping[int, float], rows: Sequence[ChannelUnits]) -> None:
        self._each = each
        self._sides: dict[tuple[int, str], tuple[int, int]] = {}
        self._takes: list[dict[tuple[int, str], int]] = []
        self._sides_of: dict[int, list[tuple[int, str]]] = {}
        self.whole = float(sum(each.values()))
        for row in rows:
            takes: dict[tuple[int, str], int] = {}
            for slot in row.group.slots:
                key = (id(slot.node), slot.role)
                # What a recurrent layer reads of its own state shrinks as what it makes does.
                if slot.role not in _ROLES or slot.position != 1 or id(slot.node) not in each:
                    continue
                takes[key] = takes.get(key, 0) + slot.index.shape[1]
                if key not in self._sides:
                    self._sides[key] = (_places(slot), _places(slot))
                    self._sides_of.setdefault(id(slot.node), []).append(key)
            self._takes.append(takes)

    def take(self, row: int, channels: int) -> None:
        """Count `channels` of a row as gone."""
        for key, places in self._takes[row].items():
            left, of = self._sides[key]
            self._sides[key] = (left - channels * places, of)

    def saves(self, row: int, channels: int) -> float:
        """Return what taking `channels` of a row would save now."""
        before = self._of(row)
        self.take(row, channels)
        after = self._of(row)
        self.take(row, -channels)
        return before - after

    def left(self) -> float:
        """Return the cost of what is left."""
        return sum(self._node(node) for node in self._each)

    def _of(self, row: int) -> float:
        return sum(self._node(node) for node in {key[0] for key in self._takes[row]})

    def _node(self, node: int) -> float:
        found = self._each[node]
        for key in self._sides_of.get(node, ()):
            left, of = self._sides[key]
            found *= left / of
        return found


def _places(slot: ChannelSlice) -> int:
    return int(slot.blocks * np.asarray(slot.constant.shape)[slot.axis])


def costs_of(graph: gs.Graph, of: str, rows: Sequence[ChannelUnits]) -> dict[int, float]:
    """Return the cost of each node of `graph` by id: its MACs, or the weights in it."""
    if of == "macs":
        nodes = cost(graph).nodes
        return {
            id(node): float(each.macs or 0) for node, each in zip(graph.nodes, nodes, strict=True)
        }
    held = {id(s.node): s for row in rows for s in row.group.slots if s.role in _ROLES}
    return {key: float(np.prod(slot.constant.shape)) for key, slot in held.items()}
