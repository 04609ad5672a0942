"""Compute in bfloat16 where the outputs stay close to those of float32.

    least time   such that   metric(y^) >= metric(y) - max-drop,   SQNR(y^, y) >= min-sqnr

    y^ = f_L( ... f_1(x) )     f_l rounds what it reads and gives to 8 digits, if layer l is chosen

Products of bfloat16 are exact in float32, where they are summed, so that rounding is all that
changes: float32 that is rounded wherever a tensor is stored computes the same, and is what choices
are judged by (`ir/run/rounded`). All layers are chosen at first. Where the outputs are too
far off then, each layer's noise alone and the products that it saves say which go back to float32,
as for integers (`quantize`); the fewest do that it takes.

Source: Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training" (2019), for the format;
the order in which layers go back is that of `quantize`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.counted import counted
from ....ir.core.variables import is_standard, node_key
from ....ir.graph.view import View
from ....ir.metrics.choose import AUTO, MetricOptions
from ....ir.ops.traits import traits_of
from ....ir.ops.traits.groups import LAYERS
from ...engine.context import Context
from ...engine.contract import Pass
from ...engine.node_names import check_node_names
from ...fusion.inline_fused_operators import inline_fused_operators
from ...quantize.calibration_feeds import calibration_feeds
from ...quantize.qdq.units import Unit
from ...quantize.quantize.mixed_precision.bounds import GUARD, AccuracyBounds
from ...quantize.quantize.mixed_precision.choose import MixedPrecision
from ...quantize.quantize.mixed_precision.wording import Wording
from ..convert_precision import KEPT, ConvertPrecision
from .variants import Bfloat16Variants

_NARROW = np.dtype(ml_dtypes.bfloat16)
_WORDING = Wording(
    noun="bfloat16", placed="in bfloat16", plain="float32", before="the float32 graph"
)


@dataclass(frozen=True, kw_only=True)
class MixPrecision(Pass):
    """Compute in bfloat16 where the outputs on the feeds stay close to those of float32.

    Inputs and outputs of the graph keep their types. Backends `tvm` and `openvino` multiply
    bfloat16 where the CPU has instructions for it, and what stays float32 as such; ONNX Runtime
    runs no such graph on a CPU.

    - `exclude`: names of nodes that stay float32.
    - `keep`: operators that stay float32.
    - `max-drop`: layers stay float32 until the metric of the outputs is at most so much below that
      of the graph which the pipeline was given (0.01: one percent; in dB, that part of the signal).
    - `metric`: what the outputs are judged by: `classification`, `sequence`, `segmentation`,
      `detection`, `image`, `heatmap`, `embedding` or `sqnr`, or a function of your own, as
      "file.py:function"; `auto` reads it from the graph and the outputs.
    - `class-axis`: the axis of the outputs that holds the classes; `none`: as the graph says.
    - `labels`: entries of the feeds that are no inputs, the first of them with what is right.
    - `min-top1-agreement`: layers stay float32 until the largest element along the classes is that
      of the float32 graph's for this part (0 to 1) of the feeds.
    - `min-sqnr`: layers stay float32 until the outputs on the feeds are that close, in dB.
    - `guard`: without such bounds, `on` keeps layers float32 until the metric of every output is at
      least 90 % of the float32 graph's (97 % of strings, 95 % of boxes and their scores; 20 dB
      where only the error judges); `off` does not look.
    """

    name: ClassVar[str] = "mix-precision"
    exact: ClassVar[bool] = False
    settles: ClassVar[bool] = True

    exclude: tuple[str, ...] = ()
    keep: tuple[str, ...] = KEPT
    max_drop: float | None = None
    metric: str = AUTO
    class_axis: int | None = None
    labels: tuple[str, ...] = ()
    min_top1_agreement: float | None = None
    min_sqnr: float | None = None
    guard: Literal["on", "off"] = "on"

    def extra_feeds(self) -> tuple[str, ...]:
        """Return the entries of the feeds that have labels."""
        return self.labels

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Choose the layers, and convert them and what lies between them."""
        bounds = AccuracyBounds(self.min_top1_agreement, self.min_sqnr, self.max_drop)
        options = MetricOptions(self.metric, self.class_axis, self.labels)
        asked = bounds or (GUARD if self.guard == "on" else AccuracyBounds())
        inline_fused_operators(graph, context)
        check_node_names(graph, "exclude", self.exclude)
        layers = self._layers(graph, context.view())
        if any(context.view().dtype(t) == _NARROW for n in graph.nodes for t in n.outputs):
            context.go_back("the graph has bfloat16 already and was left alone", whole=False)
            return
        if not layers:
            context.go_back("there is no layer to compute in bfloat16")
            return
        keys = frozenset(node_key(unit.node) for unit in layers)
        chosen = keys
        if asked:
            chosen = self._within(graph, context, layers, asked, options)
        if chosen:
            excluded = (*self.exclude, *sorted(keys - chosen))
            self._convert(excluded).run(graph, context.quietly())
            context.remark(
                f"{len(chosen)} of {counted(len(keys), 'layer')} in bfloat16, as backends 'tvm' "
                "and 'openvino' compute it"
            )

    def _within(
        self,
        graph: gs.Graph,
        context: Context,
        layers: Sequence[Unit],
        bounds: AccuracyBounds,
        options: MetricOptions,
    ) -> frozenset[str]:
        """Return the layers that keep `bounds`; what there was to say is remarked."""
        feeds = calibration_feeds(graph, context)
        labelled = context.labelled if options.labels else None
        search = MixedPrecision(
            variants=Bfloat16Variants(
                graph, tuple(node_key(unit.node) for unit in layers), self._convert(self.exclude)
            ),
            bounds=bounds,
            options=options,
            feeds=feeds,
            judged=feeds if labelled is None else labelled,
            context=context,
            view=context.view(),
            profiler=None,
            wording=_WORDING,
        )
        return search.choose(layers, frozenset(node_key(unit.node) for unit in layers))

    def _convert(self, exclude: tuple[str, ...]) -> ConvertPrecision:
        return ConvertPrecision(to="bfloat16", compute="half", exclude=exclude, keep=self.keep)

    def _layers(self, graph: gs.Graph, view: View) -> list[Unit]:
        """Return the layers on float32 that are not to stay so."""
        found = []
        for node in graph.nodes:
            if not is_standard(node) or node.op not in LAYERS or node.op in self.keep:
                continue
            if node_key(node) in self.exclude or view.dtype(node.outputs[0]) != "float32":
                continue
            places = traits_of(node, view.opset).data_of(len(node.inputs))
            data = tuple(t for p in places if not view.is_constant(t := node.inputs[p]))
            found.append(Unit(node, data, (node.outputs[0],)))
        return found
