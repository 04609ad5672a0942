"""What the layers that read a channel lose without it, at the best they can do from the rest.

    score of channel c  =  sum over readers of the mean over outputs of  E (y - y')^2 / var y

y' is the reader's least-squares fit from the channels left (`elimination`). Where its result meets
another branch in an Add, var is that of the sum. Channels are taken out
one after the other, so the score of a channel that could stand in for others rises once they are
gone; in order of score each prefix is what backward elimination would take.

Source: He et al., "Channel pruning for accelerating very deep neural networks" (ICCV 2017) and Luo
et al., "ThiNet" (ICCV 2017) for pruning by what the next layer's output loses.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.decline import DeclinedError
from .....ir.core.variables import node_key
from .....ir.graph.clone import clone
from .....ir.graph.view import View
from .....ir.ops.linear.layer import Layer, read_layer
from ....analysis.channels.group import ChannelGroup
from ....analysis.observe.capture import stream_tensors
from ....analysis.observe.patches import positions_per_feed
from ....analysis.observe.stages import moment_bytes
from ....engine.context import Context, Feeds
from ...apply_masks import ApplyMasks
from ..channel_units import ChannelUnits
from ..units import Units
from .criterion import Array, Criterion, ScoringContext
from .elimination import eliminate
from .measured import MeasuredLayer

# Positions of each layer's output that are looked at, in all feeds together.
_POSITIONS = 16384
# What the moments of layers that are looked at together may take.
_MOST_BYTES = 2**30
_HAIR = 1e-12


class Reconstruction(Criterion):
    """What the layers that read a channel lose, as a part of what they give."""

    name: ClassVar[str] = "reconstruction"
    needs_feeds: ClassVar[bool] = True
    channels_only: ClassVar[bool] = True
    comparable: ClassVar[bool] = True

    def refusal(self, row: Units, view: View) -> str | None:
        """Say so where no layer reads the channels of `row`."""
        assert isinstance(row, ChannelUnits)
        return None if row.group.readers else "no layer with weights reads its channels"

    def scores(self, rows: Sequence[Units], state: ScoringContext) -> list[Array]:
        """Return the error of each channel that goes after those with lower scores."""
        groups = [row.group for row in rows if isinstance(row, ChannelUnits)]
        feeds = state.context.feeds or ()
        return reconstruction_scores(groups, state.graph, feeds, state.context)


def reconstruction_scores(
    groups: Sequence[ChannelGroup], graph: gs.Graph, feeds: Feeds, context: Context
) -> list[Array]:
    """Return the score [channels] of each channel of `groups`; infinite for the last to go.

    Infinite too for all channels of a group that a layer in a body of If, Loop or Scan reads.
    The graph is left alone. Masked weights count as they are masked. Raises FeedError where the
    feeds hold what is not finite.
    """
    copy = clone(graph)
    ApplyMasks().run(copy, context.on(copy).quietly())
    layers = _layers(groups, copy, context)
    found = []
    for batch in _batches(groups, layers):
        keys = dict.fromkeys(slot.layer for group in batch for slot in group.readers)
        measured = {key: MeasuredLayer(*layers[key]) for key in keys if key in layers}
        _measure(list(measured.values()), copy, feeds, context)
        found += [_scores(group, measured) for group in batch]
    return found


def _scores(group: ChannelGroup, measured: Mapping[str, MeasuredLayer]) -> Array:
    scores = np.full(group.channels, np.inf)
    if any(slot.layer not in measured for slot in group.readers):
        return scores
    readers = [measured[slot.layer].reader(slot) for slot in group.readers]
    order, costs = eliminate(readers, group.channels, group.channels - 1)
    rising = np.maximum.accumulate(costs)
    # Of equal scores that of a channel that goes later is a hair higher.
    scores[order] = rising + _HAIR * rising.max(initial=0) * np.arange(len(rising))
    return scores


def _layers(
    groups: Sequence[ChannelGroup], graph: gs.Graph, context: Context
) -> dict[str, tuple[Layer, View]]:
    """Return the layers of `graph` that read channels of `groups`, by what options call them."""
    own = context.on(graph)
    view = own.view()
    keys = {slot.layer for group in groups for slot in group.readers}
    found = {}
    for node in graph.nodes:
        if node_key(node) in keys:
            with suppress(DeclinedError):
                found[node_key(node)] = read_layer(node, view), view
    return found


def _batches(
    groups: Sequence[ChannelGroup], layers: Mapping[str, tuple[Layer, View]]
) -> Iterator[list[ChannelGroup]]:
    """Yield `groups` in runs the moments of whose readers fit into memory together."""
    run: list[ChannelGroup] = []
    held: set[str] = set()
    for group in groups:
        own = {slot.layer for slot in group.readers} & layers.keys()
        keys = held | own
        if run and sum(moment_bytes(layers[key][0]) for key in keys) > _MOST_BYTES:
            yield run
            run, keys = [], own
        run.append(group)
        held = keys
    if run:
        yield run


def _measure(
    layers: Sequence[MeasuredLayer], graph: gs.Graph, feeds: Feeds, context: Context
) -> None:
    names = list(dict.fromkeys(name for each in layers for name in each.names))
    samples = operator.length_hint(feeds) or sum(1 for _ in feeds)
    generator = np.random.default_rng(context.seed)
    for arrays in stream_tensors(graph, names, feeds, context.progress):
        for each in layers:
            each.add(arrays, positions_per_feed(each.layer, _POSITIONS, samples), generator)
