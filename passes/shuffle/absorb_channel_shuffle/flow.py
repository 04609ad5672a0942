"""Where the channels of every tensor of one graph come from, seen through what only moves them.

A *root* is a tensor that is no mere arrangement of others; every channel of a tensor is a channel
of some root. Readers that compute something, and graph outputs, are *demands* on an arrangement.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.disjoint_sets import DisjointSets
from ....ir.graph.view import View
from ..roles import Array, ChannelRole, role_of
from ..routes import ChannelRoute, channels_of


@dataclass(frozen=True)
class ChannelSource:
    """Root (an index into `ChannelFlow.roots`) and channel of every channel of a tensor."""

    roots: Array
    channels: Array


@dataclass(kw_only=True)
class ChannelFlow:
    """The channels of one scope. `readers[t]` are the computing readers of tensor t, by id."""

    view: View
    roots: list[gs.Tensor] = field(default_factory=list)
    sources: dict[int, ChannelSource] = field(default_factory=dict)
    tensors: list[gs.Tensor] = field(default_factory=list)  # with channels, producers first
    nodes: list[gs.Node] = field(default_factory=list)  # that compute and are needed, in order
    roles: dict[int, ChannelRole | None] = field(default_factory=dict)
    routes: list[ChannelRoute] = field(default_factory=list)
    reads: Counter[int] = field(default_factory=Counter)  # by id of the tensor, where needed
    _regions: DisjointSets = field(default_factory=DisjointSets)  # of roots

    def source(self, tensor: gs.Tensor) -> ChannelSource | None:
        """Return where the channels of `tensor` come from; a tensor not moved is a root."""
        found = self.sources.get(id(tensor))
        if found is None:
            channels = channels_of(tensor, self.view)
            if channels is None:
                return None
            root = len(self.roots)
            found = ChannelSource(np.full(channels, root), np.arange(channels))
            self.roots.append(tensor)
            self._regions.add(1)
            self.sources[id(tensor)] = found
            self.tensors.append(tensor)
        return found

    def is_root(self, tensor: gs.Tensor) -> bool:
        """Say whether `tensor` is a root."""
        source = self.sources[id(tensor)]
        return bool(len(source.roots)) and self.roots[int(source.roots[0])] is tensor

    def channels(self, root: int) -> int:
        """Return the number of channels of a root."""
        return len(self.sources[id(self.roots[root])].roots)

    def weight(self, root: int) -> int:
        """Return how many elements a channel of a root has; 1 where that is not known."""
        sizes = (self.view.shape(self.roots[root]) or ())[2:]
        return math.prod(size if isinstance(size, int) else 1 for size in sizes)

    def region(self, root: int) -> int:
        """Return the number of the region that a root is in: roots that are arranged together."""
        return self._regions.find(root)

    def join(self, roots: Array) -> None:
        """Put roots into one region."""
        first, *others = np.unique(roots).tolist()
        for other in others:
            self._regions.unite(first, other)


def read_flow(view: View, routes: dict[int, ChannelRoute]) -> ChannelFlow:
    """Read the scope of `view`; `routes` are its movers of channels, by id of their last node."""
    flow = ChannelFlow(view=view)
    needed = _needed(view, routes)
    for node in view.scope.nodes:
        if id(node) not in needed:
            continue
        route = routes.get(id(node))
        flow.reads.update(map(id, node.inputs if route is None else route.inputs))
        if route is None:
            role = flow.roles[id(node)] = role_of(node, view)
            flow.nodes.append(node)
            for position, tensor in enumerate(node.inputs):
                if role is not None and position in role.data:
                    flow.source(tensor)
            for tensor in node.outputs:
                flow.source(tensor)
            if role is not None and not role.is_linear:
                data = [node.inputs[position] for position in role.data]
                held = [flow.sources[id(t)].roots for t in (*data, node.outputs[0])]
                flow.join(np.concatenate(held))
            continue
        flow.routes.append(route)
        sources = [flow.source(tensor) for tensor in route.inputs]
        held_sources = [source for source in sources if source is not None]
        flow.join(np.concatenate([source.roots for source in held_sources]))
        starts = np.cumsum([0, *(len(source.roots) for source in held_sources)])
        roots = np.concatenate([source.roots for source in held_sources])
        channels = np.concatenate([source.channels for source in held_sources])
        for tensor, (places, picks) in zip(route.outputs, route.tables, strict=True):
            at = starts[places] + picks
            flow.sources[id(tensor)] = ChannelSource(roots[at], channels[at])
            flow.tensors.append(tensor)
    return flow


def inner_readers(tensor: gs.Tensor, view: View) -> list[gs.Node]:
    """Return the readers of `tensor` in the bodies of this scope's If, Loop and Scan nodes."""
    return [
        node
        for node in view.readers(tensor)
        if all(view.producer(made) is not node for made in node.outputs)
    ]


def _needed(view: View, routes: dict[int, ChannelRoute]) -> set[int]:
    """Return the nodes that outputs depend on where a route reads nothing but its data.

    What only computes the target of a route's Reshape is not among them.
    """
    needed: set[int] = set()
    pending = list(view.scope.outputs)
    for node in view.scope.nodes:
        pending.extend(tensor for tensor in node.outputs if inner_readers(tensor, view))
    while pending:
        node = view.producer(pending.pop())
        if node is None or id(node) in needed:
            continue
        needed.add(id(node))
        route = routes.get(id(node))
        pending.extend(node.inputs if route is None else route.inputs)
    return needed
