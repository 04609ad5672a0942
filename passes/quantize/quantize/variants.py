"""One graph under different choices of what runs on integers, built from one calibration."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.graph.clone import clone
from ...engine.context import Context
from .calibration.observers import Range
from .insert_pairs import insert_pairs
from .scheme import QuantizationScheme


@dataclass(frozen=True)
class QuantizedVariants:
    """A float graph, the ranges of the tensors that any choice needs, and the number formats.

    A choice is a collection of nodes, as `node_key` calls them; the movements between the chosen
    run on integers too, but for the nodes `left_out`. `original`: the float graph to compete with,
    where `graph` was rewritten for integers.
    """

    graph: gs.Graph
    ranges: Mapping[str, Range]
    scheme: QuantizationScheme
    left_out: Collection[str] = ()
    original: gs.Graph | None = None

    def build(self, chosen: Collection[str]) -> gs.Graph:
        """Return a copy of the graph in which the nodes called `chosen` run on integers."""
        copy = clone(self.graph)
        insert_pairs(copy, Context(copy), chosen, self.ranges, self.scheme, self.left_out)
        return copy
