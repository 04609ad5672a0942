"""What a graph gives with one node changed, run from where it differs to where it no longer does.

    x -> [as before] -> a -> [changed] -> b -> [as before] -> y

The graph as it is has run once, and its tensors at some cuts are kept. A variant of it runs between
the last cut a before what differs and the first cut b behind that; from there on all variants run
the same nodes, which are made ready once for each cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.variables import dense_values, subgraphs_of
from .....ir.graph.backward_slice import backward_slice, names_read
from .....ir.run.reference import Arrays, Reference
from ....analysis.observe.part import run_part

Inputs = Mapping[str, np.ndarray[Any, Any]]
# Gives the outputs for the feed at an index, which is always the same.
Run = Callable[[int, Inputs], Arrays]

_MOST_CUTS = 16
# What the tensors at all cuts may take, of all feeds.
_MOST_BYTES = 1 << 27


@dataclass(frozen=True)
class _Cut:
    """A place before node `position`: `live` are the tensors from before that are read behind it.

    Outputs of the graph count as read.
    """

    position: int
    live: frozenset[str]


class CutTensors:
    """The tensors of `graph` at cuts, kept feed by feed; `graph` must not change."""

    def __init__(self, graph: gs.Graph) -> None:
        self._graph = graph
        self._cuts = _cuts(graph)
        self._kept: dict[int, Arrays] = {}
        self._bytes = 0
        self._run: Reference | None = None
        self._behind: dict[int, Reference] = {}

    def run_of(self, variant: gs.Graph) -> Run:
        """Return what runs `variant`, which differs from the graph in some of its nodes."""
        changed = _changed(self._graph, variant)
        if changed and self._bytes <= _MOST_BYTES:
            first = next(c for c in reversed(self._cuts) if c.position <= changed[0])
            last = next(c for c in self._cuts if c.position > changed[-1])
            if not first.live and last is self._cuts[-1]:
                return _whole(variant)
            fresh = sorted(last.live - first.live)
            nodes = backward_slice(variant, fresh, first.live)
            if {t.name for node in nodes for t in node.outputs}.issuperset(fresh):
                return _Between(self, variant, nodes, first, last)
        return _whole(variant)

    def at(self, cut: _Cut, index: int, inputs: Inputs) -> Arrays | None:
        """Return the tensors at `cut` for the feed at `index`, as the graph has them.

        None where something at any of the cuts is no array, such as a sequence.
        """
        found = self._kept.get(index)
        if found is None:
            live = frozenset().union(*(each.live for each in self._cuts))
            if self._run is None:
                self._run = run_part(
                    self._graph, self._graph.nodes, {}, sorted(live), optimized=True
                )
            found = self._run(inputs)
            arrays = [found.get(name) for name in live]
            if not all(isinstance(array, np.ndarray) for array in arrays):
                return None
            self._bytes += sum(array.nbytes for array in found.values())
            if self._bytes <= _MOST_BYTES:
                self._kept[index] = found
        return {name: found[name] for name in cut.live}

    def behind(self, cut: _Cut, arrays: Arrays, inputs: Inputs) -> Arrays:
        """Return the outputs that follow from `arrays`, those at `cut`."""
        outputs = self._graph.outputs
        held = ((tensor.name, dense_values(tensor)) for tensor in outputs)
        constants = {name: values for name, values in held if values is not None}
        known = {**constants, **inputs, **arrays}
        made = [tensor.name for tensor in outputs if tensor.name not in known]
        if made:
            if cut.position not in self._behind:
                nodes = backward_slice(self._graph, made, cut.live)
                self._behind[cut.position] = run_part(
                    self._graph, nodes, arrays, made, optimized=True
                )
            known |= self._behind[cut.position]({**inputs, **arrays})
        return {tensor.name: known[tensor.name] for tensor in outputs}


class _Between:
    """The nodes of a variant between two cuts, and behind them those of the graph."""

    def __init__(
        self,
        cuts: CutTensors,
        variant: gs.Graph,
        nodes: Sequence[gs.Node],
        first: _Cut,
        last: _Cut,
    ) -> None:
        self._cuts, self._variant, self._nodes = cuts, variant, nodes
        self._first, self._last = first, last
        read = set().union(*map(names_read, nodes))
        self._read = sorted(first.live & read)
        self._run: Reference | None = None
        self._whole: Run | None = None

    def __call__(self, index: int, inputs: Inputs) -> Arrays:
        known = self._cuts.at(self._first, index, inputs)
        if known is None:
            self._whole = self._whole or _whole(self._variant)
            return self._whole(index, inputs)
        given = {name: known[name] for name in self._read}
        if self._run is None and self._nodes:
            fresh = sorted(self._last.live - self._first.live)
            self._run = run_part(self._variant, self._nodes, given, fresh, optimized=True)
        found = known | (self._run({**inputs, **given}) if self._run else {})
        at_last = {name: found[name] for name in self._last.live}
        return self._cuts.behind(self._last, at_last, inputs)


def _whole(variant: gs.Graph) -> Run:
    whole = Reference(variant, optimized=True)
    return lambda index, inputs: whole(inputs)


def _cuts(graph: gs.Graph) -> list[_Cut]:
    """Return a few cuts in order, in each stretch of nodes one of the fewest tensors.

    The first is before all nodes, the last behind them.
    """
    outputs = {tensor.name for tensor in graph.outputs}
    made = {t.name for node in graph.nodes for t in node.outputs if t.name}
    live = [frozenset(outputs & made)]
    for node in reversed(graph.nodes):
        own = {tensor.name for tensor in node.outputs}
        live.append((live[-1] - own) | (names_read(node) & made))
    live.reverse()
    count = len(graph.nodes)
    stretch = max(2, math.ceil(count / _MOST_CUTS))
    places = [
        min(range(start, min(start + stretch, count)), key=lambda at: (len(live[at]), at))
        for start in range(stretch // 2, count, stretch)
    ]
    return [_Cut(at, live[at]) for at in dict.fromkeys((0, *places, count))]


def _changed(graph: gs.Graph, variant: gs.Graph) -> list[int]:
    """Return the positions of the nodes of `graph` that `variant` has otherwise, or not at all."""
    theirs = {node.outputs[0].name: node for node in variant.nodes if node.outputs}
    return [
        place
        for place, node in enumerate(graph.nodes)
        if not node.outputs or not _are_same(node, theirs.get(node.outputs[0].name))
    ]


def _are_same(node: gs.Node, other: gs.Node | None) -> bool:
    """Say whether both compute the same of the same tensors; nodes with bodies never do."""
    return (
        other is not None
        and (node.op, node.domain) == (other.op, other.domain)
        and [t.name for t in node.outputs] == [t.name for t in other.outputs]
        and len(node.inputs) == len(other.inputs)
        and all(map(_are_same_tensors, node.inputs, other.inputs))
        and not any(True for _ in subgraphs_of(node))
        and node.attrs.keys() == other.attrs.keys()
        and all(_are_same_values(value, other.attrs[k]) for k, value in node.attrs.items())
    )


def _are_same_tensors(tensor: gs.Tensor, other: gs.Tensor) -> bool:
    if isinstance(tensor, gs.Constant) and isinstance(other, gs.Constant):
        return tensor._values is other._values
    return type(tensor) is type(other) and tensor.name == other.name


def _are_same_values(value: Any, other: Any) -> bool:
    plain = (int, float, str, bytes, list)
    return value is other or (
        isinstance(value, plain) and isinstance(other, plain) and value == other
    )
