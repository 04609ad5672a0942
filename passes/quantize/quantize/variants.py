"""One graph under different choices of what runs on integers, built from one calibration."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.clone import clone
from ...engine.context import Context, Feeds
from .calibration.observers import Range
from .channel_scales.scales import ScaledTensor
from .float_layers import take_float_layers
from .insert_pairs import insert_pairs
from .scheme import QuantizationScheme
from .shift_biases import float_results, set_biases, shift_biases

Array = np.ndarray[Any, Any]


class Variants(Protocol):
    """A graph under different choices of nodes, as `node_key` calls them."""

    @property
    def graph(self) -> gs.Graph:
        """The graph that choices are made in."""

    @property
    def reference(self) -> gs.Graph:
        """The graph with nothing chosen."""

    def build(self, chosen: Collection[str], *, corrected: bool = False) -> gs.Graph:
        """Return a copy of the graph that computes as it does with those `chosen`."""


@dataclass(frozen=True, kw_only=True)
class QuantizedVariants:
    """A float graph, the ranges of the tensors that any choice needs, and the number formats.

    A choice is a collection of nodes, as `node_key` calls them; the movements between the chosen
    run on integers too, but for the nodes `left_out`. `original`: the float graph to compete with,
    where `graph` was rewritten for integers. `floats`: `graph` with layers as before rounding, as
    those are that are not chosen; None where none was rounded. `samples`: what biases are corrected
    on; None where they are not. `steps`: of weights that are clipped (`weight_steps`). `scales`: of
    channels where integers end, by tensor name.
    """

    graph: gs.Graph
    ranges: Mapping[str, Range]
    scheme: QuantizationScheme
    left_out: Collection[str] = ()
    original: gs.Graph | None = None
    floats: gs.Graph | None = None
    samples: Feeds | None = None
    steps: Mapping[str, Array] = field(default_factory=dict)
    scales: Mapping[str, ScaledTensor] = field(default_factory=dict)
    # Those corrected, of the choices that were judged: fitting takes a run of all layers.
    _biases: dict[frozenset[str], dict[str, Array]] = field(default_factory=dict)

    @property
    def reference(self) -> gs.Graph:
        """The graph with no layer on integers."""
        return self.graph if self.floats is None else self.floats

    def with_scales(self, scales: Mapping[str, ScaledTensor]) -> QuantizedVariants:
        """Return the same with `scales`."""
        return replace(self, scales=scales, _biases={})

    def build(self, chosen: Collection[str], *, corrected: bool = False) -> gs.Graph:
        """Return a copy of the graph in which the nodes called `chosen` run on integers.

        `corrected`: with the biases that the result will have, which times do not depend on.
        """
        copy = clone(self.graph)
        self.apply(copy, Context(copy), chosen, corrected=corrected)
        return copy

    def apply(
        self,
        graph: gs.Graph,
        context: Context,
        chosen: Collection[str],
        *,
        corrected: bool = True,
    ) -> None:
        """Put the nodes called `chosen` of `graph`, the same as the float graph, on integers."""
        if self.floats is not None:
            take_float_layers(graph, context, self.floats, chosen)
        results = float_results(graph, context.view(), chosen)
        insert_pairs(
            graph,
            context,
            chosen,
            self.ranges,
            self.scheme,
            self.left_out,
            self.steps,
            self.scales,
        )
        if not corrected or self.samples is None:
            return
        key = frozenset(chosen)
        if key in self._biases:
            set_biases(graph, context, results, self._biases[key])
        else:
            self._biases[key] = shift_biases(graph, context, self.reference, results, self.samples)
