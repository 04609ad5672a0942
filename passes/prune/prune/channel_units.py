"""Channels as units: a group of them, scored by what makes them and masked wherever they stand.

A channel goes with its rows and biases in all layers that make or carry it, and its columns in all
layers that read it: nothing depends on it any more, and removing it changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import dense_values, is_standard
from ....ir.graph.view import View
from ...analysis.channels.findings import Role
from ...analysis.channels.group import ChannelGroup, ChannelSlice
from .masked_weights import PrunableWeight, read_weight
from .units import Values

Array = np.ndarray[Any, Any]

# Channels left are a multiple of the largest of these that is at most this part of the width.
_MULTIPLES = (16, 8, 4, 2)
_PART = 4
_MADE: tuple[Role, ...] = ("makes", "carries", "bias")


@dataclass(frozen=True)
class ChannelUnits:
    """The channels of a group, those that `gone` says masked already.

    `norms`: by the id of a node that makes or carries channels, the BatchNormalization behind it.
    """

    group: ChannelGroup
    gone: Array
    norms: Mapping[int, gs.Node]

    @property
    def name(self) -> str:
        """The name of the first layer that makes the channels."""
        return self.group.name

    @property
    def made(self) -> tuple[ChannelSlice, ...]:
        """The weights and biases that make or carry the channels."""
        return self.group.of_role(*_MADE)

    def weights(self) -> dict[str, Array]:
        """Return the weights and biases that make the channels."""
        return {slot.constant.name: _values(slot) for slot in self.made}

    def pooled(self, values: Values, *, scaled: int = 0) -> Array:
        """Return the sums over the rows and biases of each channel."""
        total = np.zeros(self.group.channels)
        for slot in self.made:
            found = values.get(slot.constant.name)
            if found is not None:
                rows = slot.rows(found).sum(axis=1, dtype=np.float64)
                total += rows * self._factor(slot) ** scaled if scaled else rows
        return total

    def gated(self, values: Values) -> Array:
        """Return the sums where channels leave the layers that make them.

        That is scale and bias of a normalization behind a layer, or else its row and bias.
        """
        total = np.zeros(self.group.channels)
        biases = {id(slot.node): slot for slot in self.group.of_role("bias")}
        for slot in self.group.makers or self.group.of_role("carries"):
            norm = self.norms.get(id(slot.node))
            parts = [slot, biases.get(id(slot.node))]
            if norm is not None:
                parts = [self._of_norm(norm, 1), self._of_norm(norm, 2)]
            for part in parts:
                found = None if part is None else values.get(part.constant.name)
                if part is not None and found is not None:
                    total += part.rows(found).sum(axis=1, dtype=np.float64)
        return total

    def scales(self) -> Array | None:
        """Return the mean |scale| [channels] of the normalizations behind the layers, or None."""
        slots = [self._of_norm(norm, 1) for norm in self.norms.values()]
        found = [np.abs(s.rows(_values(s))).mean(axis=1) for s in slots if s is not None]
        return np.mean(found, axis=0) if found else None

    def without(self, gone: Array) -> ChannelUnits:
        """Return the units when `gone` are masked too."""
        return replace(self, gone=self.gone | gone)

    def _of_norm(self, norm: gs.Node, position: int) -> ChannelSlice | None:
        return self._norm_slots.get((id(norm), position))

    @cached_property
    def _norm_slots(self) -> dict[tuple[int, int], ChannelSlice]:
        norms = {id(norm) for norm in self.norms.values()}
        slots = self.group.slots
        return {(id(s.node), s.position): s for s in slots if id(s.node) in norms}

    def _factor(self, slot: ChannelSlice) -> Array:
        """Return what a normalization scales each channel of `slot` by, [channels]."""
        norm = self.norms.get(id(slot.node))
        scale = None if norm is None else self._of_norm(norm, 1)
        variance = None if norm is None else self._of_norm(norm, 4)
        if norm is None or scale is None or variance is None:
            return np.ones(self.group.channels)
        deviation = np.sqrt(_first(variance) + norm.attrs.get("epsilon", 1e-5))
        return np.asarray(np.abs(_first(scale)) / deviation)


def _values(slot: ChannelSlice) -> Array:
    found = dense_values(slot.constant)
    assert found is not None
    return found


def _first(slot: ChannelSlice) -> Array:
    return slot.rows(_values(slot))[:, 0].astype(np.float64)


def channel_units(group: ChannelGroup, view: View) -> ChannelUnits:
    """Return the channels of `group` as they stand: gone are those that nothing reads any more."""
    judged = group.readers or group.of_role("makes", "carries")
    gone = np.ones(group.channels, bool)
    for slot in judged:
        mask = None if slot.mask is None else dense_values(slot.mask)
        if mask is None:
            gone[:] = False
            break
        whole = np.broadcast_to(mask, tuple(slot.constant.shape))
        gone &= ~slot.rows(whole).any(axis=1)
    norms = {}
    for slot in group.of_role("makes", "carries"):
        reader = view.only_reader(slot.node.outputs[0])
        if reader is not None and reader.op == "BatchNormalization" and is_standard(reader):
            norms[id(slot.node)] = reader
    return ChannelUnits(group, gone, norms)


def cells_of_balance(group: ChannelGroup) -> Array:
    """Return for each channel the number of the cell of which one goes whenever one goes of any."""
    if not group.balance:
        return np.zeros(group.channels, np.int64)
    blocks = np.stack(group.balance, axis=1)
    _, cells = np.unique(blocks, axis=0, return_inverse=True)
    return np.asarray(cells).reshape(-1)


def is_even(cells: Array) -> bool:
    """Say whether every cell has as many channels."""
    counts = np.bincount(cells)
    return bool((counts == counts[0]).all())


def unit_of(channels: int, cells: int, multiple: int | None) -> int:
    """Return what the number of channels left is a multiple of.

    By default the largest of 16, 8, 4 and 2 that is at most a quarter of the width: runtimes lay
    channels out by 8 or 16 for vectors of that many floats, so that a number between two multiples
    costs what the next one does; and of fewer than four steps the scores would decide nothing.
    With several cells it is a multiple of their number too.
    """
    if multiple is not None:
        return math.lcm(multiple, cells)
    for each in _MULTIPLES:
        if math.lcm(each, cells) * _PART <= channels:
            return math.lcm(each, cells)
    return cells


def masks_of(
    rows: Sequence[ChannelUnits], gone: Sequence[Array], view: View
) -> list[tuple[PrunableWeight, Array]]:
    """Return the masks, one for each weight, under which the channels `gone` of rows are out."""
    found: dict[tuple[int, int], tuple[PrunableWeight, Array]] = {}
    for row, out in zip(rows, gone, strict=True):
        fresh = np.flatnonzero(out & ~row.gone)
        if not len(fresh):
            continue
        for slot in row.group.of_role(*_MADE, "reads"):
            prunable = read_weight(slot.node, slot.position, view)
            if prunable is None:
                continue  # a bias that is computed: nothing reads what it adds to
            key = (id(slot.node), slot.position)
            mask = found[key][1] if key in found else prunable.stays()
            found[key] = (prunable, mask & ~slot.where(fresh))
    return list(found.values())
