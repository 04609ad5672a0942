"""Where something can be chosen: layers with weights, and channels that only go together.

A layer reads channels of some groups and makes those of others. Its time and size follow from how
many are left of each, so that the choices of a group are choices of all layers around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.variables import is_standard, node_key
from ...ir.graph.view import View
from ...ir.ops.linear.layer import read_with_bias
from ...ir.ops.linear.operators import output_channels
from ...ir.ops.traits.groups import LAYERS
from ...passes.analysis.channels.find_groups import channel_groups
from ...passes.analysis.channels.findings import Role
from ...passes.analysis.channels.group import ChannelGroup
from ...passes.engine.context import Context
from ...passes.prune.prune.channel_units import channel_units

Array = np.ndarray[Any, Any]
_MADE: tuple[Role, ...] = ("makes", "carries")


@dataclass(frozen=True, kw_only=True)
class LayerSite:
    """A layer: its name in options, operator, what it gives, and the numbers of its weight.

    `columns`: over how many products each output sums.
    `reads` and `makes` are parts of its input and output channels by the group they are of, summing
    to 1, as (group, part); a group of -1 is of channels that stay. `carries`: each channel passes
    by itself, as in a depthwise convolution, and what is read is what is made.
    """

    name: str
    op: str
    parameters: int
    result: str
    is_windowed: bool
    columns: int
    reads: tuple[tuple[int, float], ...]
    makes: tuple[tuple[int, float], ...]
    carries: bool


@dataclass(frozen=True, kw_only=True)
class GroupSite:
    """Channels that go together: the layers that make them, by name, and how many there are."""

    name: str
    layers: tuple[str, ...]
    channels: int


@dataclass(frozen=True)
class Sites:
    """The layers and groups of a graph, in its order.

    `edges`: pairs of layers (places in `layers`) of which the second reads what the first gives,
    whatever stands between them, and the number of values that pass.
    """

    layers: tuple[LayerSite, ...]
    groups: tuple[GroupSite, ...]
    edges: tuple[tuple[int, int, int], ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Sites:
        """Return what `to_json` gave."""
        layers = []
        for each in told["layers"]:
            sides = {
                side: tuple((g, part) for g, part in each[side]) for side in ("reads", "makes")
            }
            layers.append(LayerSite(**{**each, **sides}))
        groups = tuple(GroupSite(**{**g, "layers": tuple(g["layers"])}) for g in told["groups"])
        return cls(tuple(layers), groups, tuple(tuple(edge) for edge in told["edges"]))


def read_sites(graph: gs.Graph) -> Sites:
    """Return the sites of `graph`, whose operators have to be plain."""
    context = Context(graph)
    view = context.view()
    united = _united(channel_groups(graph, context))
    groups = tuple(
        GroupSite(
            name=members[0].name,
            layers=tuple(dict.fromkeys(s.layer for g in members for s in g.of_role(*_MADE))),
            channels=sum(group.channels for group in members),
        )
        for members in united
    )
    nodes = [
        node
        for node in graph.nodes
        if node.op in LAYERS and is_standard(node) and view.constant(node.inputs[1]) is not None
    ]
    parts = _parts(united)
    layers = tuple(_layer(node, view, parts) for node in nodes)
    return Sites(layers, groups, _edges(graph, nodes, view))


def channels_left(graph: gs.Graph, sites: Sites) -> list[int]:
    """Return how many channels the masks of `graph` leave of each group of `sites`."""
    context = Context(graph)
    view = context.view()
    left = {group.name: 0 for group in sites.groups}
    of_layer = {layer: group.name for group in sites.groups for layer in group.layers}
    for group in channel_groups(graph, context):
        name = of_layer.get(group.name)
        if name is not None:
            left[name] += int((~channel_units(group, view).gone).sum())
    return [left[group.name] for group in sites.groups]


def _united(groups: Sequence[ChannelGroup]) -> list[list[ChannelGroup]]:
    """Return groups together that a name of a layer cannot tell apart, such as behind a Split."""
    found: list[list[ChannelGroup]] = []
    place: dict[str, int] = {}
    for group in groups:
        names = [slot.layer for slot in group.of_role(*_MADE)]
        known = sorted({place[name] for name in names if name in place})
        if known:
            into = found[known[0]]
            into.append(group)
            for other in known[1:]:
                into.extend(found[other])
                found[other] = []
            place |= {slot.layer: known[0] for each in into for slot in each.of_role(*_MADE)}
        else:
            place |= dict.fromkeys(names, len(found))
            found.append([group])
    return [each for each in found if each]


_Parts = dict[tuple[int, str], dict[int, int]]


def _parts(united: Sequence[Sequence[ChannelGroup]]) -> _Parts:
    """Return how many channels of each group a layer reads, makes or carries."""
    found: _Parts = {}
    for number, members in enumerate(united):
        for group in members:
            for slot in group.of_role("makes", "carries", "reads"):
                own = found.setdefault((id(slot.node), slot.role), {})
                own[number] = own.get(number, 0) + slot.index.size
    return found


def _layer(node: gs.Node, view: View, parts: _Parts) -> LayerSite:
    weight = view.constant(node.inputs[1])
    assert weight is not None
    shape = tuple(weight.shape)
    carried = parts.get((id(node), "carries"))
    made = carried or parts.get((id(node), "makes"), {})
    read = carried or parts.get((id(node), "reads"), {})
    return LayerSite(
        name=node_key(node),
        op=str(node.op),
        parameters=int(np.prod(shape)),
        result=read_with_bias(node, view).result.name,
        is_windowed=bool(np.prod(shape[2:]) > 1),
        columns=int(np.prod(shape)) // output_channels(node, shape),
        reads=_shares(read),
        makes=_shares(made),
        carries=carried is not None,
    )


def _shares(counts: Mapping[int, int]) -> tuple[tuple[int, float], ...]:
    whole = sum(counts.values())
    return tuple((g, n / whole) for g, n in sorted(counts.items())) or ((-1, 1.0),)


def _edges(
    graph: gs.Graph, nodes: Sequence[gs.Node], view: View
) -> tuple[tuple[int, int, int], ...]:
    """Return which layers read what others give, through what has no weights."""
    place = {id(node): number for number, node in enumerate(nodes)}
    sources: dict[int, frozenset[int]] = {}
    found: dict[tuple[int, int], int] = {}
    for node in graph.nodes:  # in order: sources of what it reads are known
        before = frozenset[int]().union(*(sources.get(id(t), ()) for t in node.inputs))
        here = place.get(id(node))
        if here is not None:
            size = _size(view.shape(node.inputs[0]) or ())
            found |= {(other, here): size for other in sorted(before)}
            before = frozenset({here})
        for tensor in node.outputs:
            sources[id(tensor)] = before
    return tuple((a, b, size) for (a, b), size in found.items())


def _size(shape: Iterable[Any]) -> int:
    return int(np.prod([dim for dim in shape if isinstance(dim, int)] or [1]))
