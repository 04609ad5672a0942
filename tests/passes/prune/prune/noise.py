"""Noise below the masks of channels that are out: nothing may depend on it."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

import planish
from planish.ir.core.variables import dense_values
from planish.ir.ops.masks import read_masked
from planish.passes.analysis.channels.find_groups import channel_groups
from planish.passes.engine.context import Context
from planish.passes.prune.prune.channel_units import ChannelUnits, channel_units


def units_of(graph: gs.Graph) -> dict[str, ChannelUnits]:
    """Return the groups of channels that can shrink, by the name of what makes them."""
    context = Context(graph)
    view = context.view()
    return {
        group.name: channel_units(group, view)
        for group in channel_groups(graph)
        if group.reason is None
    }


def with_garbage(graph: gs.Graph) -> gs.Graph:
    """Return `graph` with noise for all weights and biases that make channels that are out."""
    found = planish.load(planish.to_model(graph))
    noise = np.random.default_rng(1)
    twins = dict(zip(map(id, graph.nodes), found.nodes, strict=True))
    for row in units_of(graph).values():
        for slot in row.made:
            node = twins.get(id(slot.node))
            if node is None:
                continue
            tensor = node.inputs[slot.position]
            masked = read_masked(tensor.inputs[0]) if tensor.inputs else None
            held = dense_values(tensor) if masked is None else masked.values()
            bare = np.array(held)
            out = slot.where(np.flatnonzero(row.gone))
            bare[out] = 10 * noise.standard_normal(int(out.sum()))
            node.inputs[slot.position] = gs.Constant(
                f"{node.outputs[0].name}_{slot.position}_noisy", bare
            )
    return found
