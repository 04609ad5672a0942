"""Which channels of a tensor the same readers need, and in what order they want them.

Backwards through the graph: a reader gives the channels it reads one key, a channelwise operator
passes on the keys of its result, and a root's channels have, as key, all keys that they have in the
tensors they are moved to.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ..roles import Array
from .flow import ChannelFlow, inner_readers

_NONE = -1

Demands = dict[int, tuple[gs.Tensor, list[tuple[gs.Node | None, int]]]]


def fixed_demands(flow: ChannelFlow) -> Demands:
    """Return the readers that want a tensor's channels in their own order, by tensor."""
    demands: Demands = {}

    def demand(tensor: gs.Tensor, node: gs.Node | None, position: int) -> None:
        if id(tensor) in flow.sources:
            demands.setdefault(id(tensor), (tensor, []))[1].append((node, position))

    for node in flow.nodes:
        role = flow.roles[id(node)]
        for position, tensor in enumerate(node.inputs):
            if role is None or position not in role.data:
                demand(tensor, node, position)
    for tensor in flow.tensors:
        for node in inner_readers(tensor, flow.view):
            for position, read in enumerate(node.inputs):
                if read is tensor:
                    demand(tensor, node, position)
        if flow.view.is_output(tensor):
            demand(tensor, None, 0)
    return demands


Keys = dict[int, tuple[Array, Array]]


def keys_of(flow: ChannelFlow, demands: Demands) -> Keys:
    """Return key and rank of the channels of every tensor that is needed somewhere.

    Sorting by key, then rank, puts together what one reader needs, in the order it wants.
    """
    rows: dict[int, list[tuple[Array, Array | None]]] = {}
    makers: dict[int, gs.Node] = {}
    for node in flow.nodes:
        role = flow.roles[id(node)]
        if role is not None:
            makers[id(node.outputs[0])] = node
            if role.is_linear:
                length = len(flow.sources[id(node.inputs[0])].roots)
                rows.setdefault(id(node.inputs[0]), []).append((np.zeros(length, int), None))
    for key, (_, readers) in demands.items():
        length = len(flow.sources[key].roots)
        for _ in readers[:1]:
            rows.setdefault(key, []).insert(0, (np.zeros(length, int), np.arange(length)))
    found: Keys = {}
    for tensor in reversed(flow.tensors):
        if id(tensor) not in rows:
            continue
        source = flow.sources[id(tensor)]
        parts, rank = _combined(rows.pop(id(tensor)))
        plain = (
            np.arange(len(parts))
            if rank is None
            else np.where(rank < 0, np.arange(len(rank)), rank)
        )
        parts = _by_rank(parts, plain)
        found[id(tensor)] = parts, plain
        maker = makers.get(id(tensor))
        role = None if maker is None else flow.roles[id(maker)]
        if not flow.is_root(tensor):
            for root in np.unique(source.roots):
                here = source.roots == root
                row, ranks = (np.full(flow.channels(int(root)), _NONE) for _ in range(2))
                row[source.channels[here]] = parts[here]
                if rank is not None:
                    ranks[source.channels[here]] = rank[here]
                rows.setdefault(id(flow.roots[int(root)]), []).append((row, ranks))
        elif maker is not None and role is not None and not role.is_linear:
            for position in role.data:
                rows.setdefault(id(maker.inputs[position]), []).append((parts, plain))
    return found


def _combined(rows: list[tuple[Array, Array | None]]) -> tuple[Array, Array | None]:
    """Return one key for every combination of keys, and the first rank that each channel has."""
    parts = np.zeros(len(rows[0][0]), int)
    for key, _ in rows:
        if (key != key[:1]).any():  # else it tells none apart
            _, inner = np.unique(key, return_inverse=True)
            _, parts = np.unique(parts * len(key) + inner, return_inverse=True)
    rank: Array | None = None
    for _, other in rows:
        if other is not None:
            rank = other if rank is None else np.where(rank < 0, other, rank)
    return parts, rank


def _by_rank(parts: Array, rank: Array) -> Array:
    """Number the keys in the order of the first rank of each."""
    first = np.full(int(parts.max()) + 1, len(parts) + int(rank.max()) + 1)
    np.minimum.at(first, parts, rank)
    return np.argsort(np.argsort(first, kind="stable"), kind="stable")[parts]
