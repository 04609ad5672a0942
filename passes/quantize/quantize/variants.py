"""One graph under different choices of what runs on integers, built from one calibration."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Protocol

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import node_key
from ....ir.graph.clone import clone_with_types
from ....ir.graph.types import Types
from ....ir.ops.shapes.infer import infer_types
from ...engine.analyses import Analyses
from ...engine.context import Context, Feeds, Report, report_nothing
from .calibration.observers import Range
from .channel_scales.scales import ScaledTensor
from .float_layers import take_float_layers, take_rounded_layer
from .insert_pairs import insert_pairs
from .scheme import QuantizationScheme
from .shift_biases import HalfMeans, channel_means, float_results, set_biases, shift_biases

Array = np.ndarray[Any, Any]


class Variants(Protocol):
    """A graph under different choices of nodes, as `node_key` calls them."""

    @property
    def graph(self) -> gs.Graph:
        """The graph that choices are made in."""

    @property
    def reference(self) -> gs.Graph:
        """The graph with nothing chosen."""

    def build(
        self,
        chosen: Collection[str],
        *,
        corrected: bool = False,
        report: Report = report_nothing,
    ) -> gs.Graph:
        """Return a copy of the graph that computes as it does with those `chosen`."""

    def build_alone(self, node: str) -> gs.Graph:
        """Return a graph that computes as that with `node` chosen, as fast as it can be made.

        Constants may be called otherwise.
        """


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
    # Of what is the same for all choices: the channels of float layers, by name of the result, and
    # the types of a graph that copies are made of, by its id.
    _means: dict[str, HalfMeans] = field(default_factory=dict)
    _types: dict[int, Types] = field(default_factory=dict)

    @property
    def reference(self) -> gs.Graph:
        """The graph with no layer on integers."""
        return self.graph if self.floats is None else self.floats

    def with_scales(self, scales: Mapping[str, ScaledTensor]) -> QuantizedVariants:
        """Return the same with `scales`."""
        return replace(self, scales=scales, _biases={})

    def build(
        self,
        chosen: Collection[str],
        *,
        corrected: bool = False,
        report: Report = report_nothing,
    ) -> gs.Graph:
        """Return a copy of the graph in which the nodes called `chosen` run on integers.

        `corrected`: with the biases that the result will have, which times do not depend on.
        """
        copy, context = self._copy(self.graph)
        context.progress = report
        self.apply(copy, context, chosen, corrected=corrected)
        return copy

    def build_alone(self, node: str) -> gs.Graph:
        """Return a graph that computes as `build` has it of one node.

        Made of that before rounding: all other layers are as they are there.
        """
        if self.floats is None or not self._are_alike:
            return self.build((node,))
        copy, context = self._copy(self.floats)
        take_rounded_layer(copy, context, self.graph, node)
        self._insert(copy, context, (node,))
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
        self._insert(graph, context, chosen)
        if not corrected or self.samples is None:
            return
        key = frozenset(chosen)
        if key in self._biases:
            set_biases(graph, context, results, self._biases[key])
        else:
            wanted = self._channel_means(list(results.values()))
            self._biases[key] = shift_biases(graph, context, wanted, results, self.samples)

    def _insert(self, graph: gs.Graph, context: Context, chosen: Collection[str]) -> None:
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

    def _copy(self, graph: gs.Graph) -> tuple[gs.Graph, Context]:
        """Return a copy of `graph`, and a context in which its types are known."""
        if id(graph) not in self._types:
            self._types[id(graph)] = infer_types(graph)
        copy, types = clone_with_types(graph, self._types[id(graph)])
        return copy, Context(copy, known=Analyses(copy, types))

    @property
    def _are_alike(self) -> bool:
        """Whether nodes are called alike with rounded weights and without."""
        assert self.floats is not None
        return all(
            (node_key(a), a.op) == (node_key(b), b.op)
            for a, b in zip_longest(self.graph.nodes, self.floats.nodes)
        )

    def _channel_means(self, results: Sequence[str]) -> Mapping[str, HalfMeans]:
        """Return the means of the channels of `results` in the float graph, as far as it has them.

        The first choice has all layers that any other has: they are looked at once.
        """
        assert self.samples is not None
        missing = [name for name in results if name not in self._means]
        self._means.update(channel_means(self.reference, missing, self.samples))
        return self._means
