"""Random channel masks for tests: channels of groups silenced by zeros, as pruning would."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from planish.ir.core.build import make_constant
from planish.passes.analysis.channels.find_groups import channel_groups
from planish.passes.analysis.channels.group import ChannelGroup, ChannelSlice

Array = np.ndarray[Any, Any]


def drawn_channels(group: ChannelGroup, generator: np.random.Generator) -> Array:
    """Return 30 to 60 % of the channels of a group, as many of each block that must be even."""
    share = generator.uniform(0.3, 0.6)
    if not group.balance:
        count = min(round(share * group.channels), group.channels - 1)
        return generator.permutation(group.channels)[:count]
    blocks = np.stack(group.balance)
    kinds, place = np.unique(blocks, axis=1, return_inverse=True)
    size = group.channels // kinds.shape[1]
    count = min(round(share * size), size - 1)
    parts = [np.flatnonzero(place.reshape(-1) == k) for k in range(kinds.shape[1])]
    return np.concatenate([generator.permutation(part)[:count] for part in parts])


def silence(graph: gs.Graph, seed: int, *, rows: bool = True) -> dict[str, tuple[int, int]]:
    """Zero what reads random channels, and with `rows` what makes them; return counts by group."""
    generator = np.random.default_rng(seed)
    new: dict[int, Array] = {}
    held: dict[int, gs.Constant] = {}
    counts = {}

    def zero(slot: ChannelSlice, channels: Array) -> None:
        constant = slot.constant
        held[id(constant)] = constant
        values = new.setdefault(id(constant), np.array(constant.values))
        values[slot.where(channels)] = 0

    for group in channel_groups(graph):
        uneven = group.reason is not None and "unevenly" in group.reason
        if (group.reason is not None and not uneven) or group.channels == 1:
            continue
        channels = drawn_channels(group, generator)
        counts[group.name] = (len(channels), group.channels)
        for slot in group.slots:
            made = rows and slot.role in ("makes", "bias", "carries")
            if made or slot.role == "reads":
                zero(slot, channels)
    fresh = {key: make_constant(held[key].name, values) for key, values in new.items()}
    for node in graph.nodes:
        for position, tensor in enumerate(node.inputs):
            if id(tensor) in fresh:
                node.inputs[position] = fresh[id(tensor)]
    return counts
