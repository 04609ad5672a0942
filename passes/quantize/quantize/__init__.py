"""Insert quantize/dequantize pairs, so that runtimes compute on integers.

q = clip(round(x / scale) + zero_point, qmin, qmax)      x ~ scale * (q - zero_point)

Each pair of QuantizeLinear and DequantizeLinear puts a tensor on a grid of integers: weights on one
of their own values, activations on one of the range that they have on the feeds. Runtimes make one
operator on integers of a float operator between such pairs. What is faster in float on the target
stays so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import onnx_graphsurgeon as gs

from ....ir.core.errors import RefusedError
from ....ir.core.nearest import nearest
from ....ir.core.variables import node_key
from ....ir.graph.clone import clone
from ....ir.metrics.choose import AUTO, MetricOptions
from ....ir.ops.quantization.nodes import QUANTIZE
from ....ir.ops.traits.groups import INTEGER_LAYERS
from ...engine.context import Context, Feeds
from ...engine.contract import Pass
from ...engine.node_names import check_node_names
from ...engine.reasons import reasons_in_short
from ...fusion.inline_fused_operators import inline_fused_operators
from ...opset.convert_opset import ensure_opset
from ..calibration_feeds import calibration_feeds
from ..grids.formats import read_format
from ..instruction_set import SAFE_BITS, saturates, seven_bits
from ..lowering.lower import lower_for_integers
from ..qdq.units import QUANTIZABLE, Unit
from .bodies import remark_bodies, remark_uncorrected, tell_bodies_apart, without_unseen
from .borders import not_worth
from .branches import branched_layers, unlike_branches
from .calibration.calibrate import Method, calibrate
from .float_layers import with_float_layers
from .functions import hidden_layers
from .mixed_precision.bounds import GUARD, AccuracyBounds
from .mixed_precision.choose import excluded
from .network_judge import NetworkJudge
from .recurrent import remark_recurrent
from .scheme import QuantizationScheme
from .selection import UnitSelection
from .unfolded import remark_unfolded
from .units import read_units, tensors_of
from .variants import QuantizedVariants
from .weight_steps import weight_steps

_INTEGER_OPERATORS = INTEGER_LAYERS | {QUANTIZE}


@dataclass(frozen=True, kw_only=True)
class Quantize(Pass):
    """Quantize weights and activations: integer operators between quantize/dequantize pairs.

    - `weights`: their format, `int2` to `int8` or `uint2` to `uint8`.
    - `activations`: their format, likewise, or `int16` or `uint16`; below 8 bits they lie in 8,
      where what exceeds their range on other data than the feeds is not cut off.
    - `per-channel`: one weight scale an output channel, instead of one a weight. With feeds, it
      ends before a weight that reads next to nothing on them and is far larger than the others.
    - `symmetric`: activations with the zero point in the middle.
    - `operators`: only these ONNX operators; empty: all that can be.
    - `exclude`: names of nodes that stay float.
    - `products`: also MatMuls of two activations, as attention has them.
    - `calibration`: how the feeds give ranges. Those of `mse` reach beyond the samples as far as
      that helps samples held back, at the outputs of the network.
    - `percentile`: for `calibration=percentile`: of the values, in percent, that lie below the
      upper end, and above the lower one.
    - `reduce-range`: weights of 7 bits, for CPUs whose u8 x s8 products saturate; `none`: where the
      target is such a one.
    - `measure`: leave in float what is faster so on the target, and the whole graph where integers
      are not faster; without it, the result depends on graph and feeds alone.
    - `max-drop`: layers stay float until the metric of the outputs is at most so much below that
      of the graph which the pipeline was given (0.01: one percent; in dB, that part of the signal).
    - `metric`: what the outputs are judged by: `classification`, `sequence`, `segmentation`,
      `detection`, `image`, `heatmap`, `embedding` or `sqnr`, or a function of your own, as
      "file.py:function"; `auto` reads it from the graph and the outputs.
    - `class-axis`: the axis of the outputs that holds the classes; `none`: as the graph says.
    - `labels`: entries of the feeds that are no inputs, the first of them with what is right:
      classes, strings or masks are judged by it then, and not by the float graph.
    - `min-top1-agreement`: layers stay float until the largest element along the classes is that of
      the float graph's for this part (0 to 1) of the feeds.
    - `min-sqnr`: layers stay float until the outputs on the feeds are that close, in dB, to the
      float graph's.
    - `guard`: without such bounds, `on` keeps layers float until the metric of every output is at
      least 90 % of the float graph's (97 % of strings, 95 % of boxes and their scores; 20 dB
      where only the error judges); `off` does not look. That float graph is the one before integers
      and what prepares for them: what a pass such as `prune` took before does not count.
    - `give-back`: without such bounds: the part of the time saved that may go back for keeping the
      most sensitive layers float.
    - `extend`: quantize what is still float in a graph that is quantized already, which is left
      alone otherwise.
    - `correct-bias`: with feeds, let biases take back what integers add to the mean of a channel;
      those of layers in bodies of If, Loop and Scan stay.
    - `channel-scales`: what convolutions give to float operators has a scale for each channel, as
      far as that helps samples held back; it takes weights that are `per-channel`.
    - `lower`: first rewrite what integer kernels cannot compute into what they can.
    """

    name: ClassVar[str] = "quantize"
    exact: ClassVar[bool] = False
    settles: ClassVar[bool] = True

    weights: str = "int8"
    activations: str = "uint8"
    per_channel: bool = True
    symmetric: bool = False
    operators: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    products: bool = False
    calibration: Method = "mse"
    percentile: float = 99.99
    reduce_range: bool | None = None
    measure: bool = True
    max_drop: float | None = None
    metric: str = AUTO
    class_axis: int | None = None
    labels: tuple[str, ...] = ()
    min_top1_agreement: float | None = None
    min_sqnr: float | None = None
    guard: Literal["on", "off"] = "on"
    give_back: float = 0.0
    extend: bool = False
    correct_bias: bool = True
    channel_scales: bool = True
    lower: bool = True

    def extra_feeds(self) -> tuple[str, ...]:
        """Return the entries of the feeds that have labels."""
        return self.labels

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Read the units, calibrate their tensors, choose by latency, insert the pairs."""
        scheme = self._scheme()
        bounds = AccuracyBounds(self.min_top1_agreement, self.min_sqnr, self.max_drop)
        options = MetricOptions(self.metric, self.class_axis, self.labels)
        if not 0 <= self.give_back < 1:
            raise RefusedError(f"give-back is {self.give_back}; give a part of 1, such as 0.05")
        tell_bodies_apart(graph, context)
        self._check_names(graph)
        nodes = (node for scope in context.uses.scopes(graph) for node in scope.nodes)
        if not self.extend and any(node.op in _INTEGER_OPERATORS for node in nodes):
            context.go_back(
                "the graph is quantized already and was left alone; extend=true quantizes what is "
                "still float",
                whole=False,
            )
            return
        inline_fused_operators(graph, context)
        if not ensure_opset(graph, context, scheme.opset):
            if not context.exhausted:
                context.go_back(f"the graph stays float: opset {scheme.opset} cannot be reached")
            return
        hidden = hidden_layers(graph)
        if not self.operators:
            remark_recurrent(graph, context, self.exclude)
        original, outer = graph, context
        feeds: Feeds | None = None
        apart: tuple[str, ...] = ()
        if self.lower:  # in a copy: where integers are not worth it, the graph stays as it is
            graph = clone(original)
            context = outer.on(graph)
            branched = branched_layers(graph, context.view())
            if branched:
                feeds = calibration_feeds(graph, context)
                apart = unlike_branches(graph, branched, feeds)
            lower_for_integers(graph, context, apart)
        floats = with_float_layers(original, outer)
        if floats is not None and self.lower:
            lower_for_integers(floats, outer.on(floats), apart)
        units = self._units(graph, context)
        if _is_nothing(units, context, hidden):
            return
        if hidden:
            context.remark(f"{hidden}, to quantize them too")
        remark_unfolded(graph, context)
        feeds = calibration_feeds(graph, context) if feeds is None else feeds
        scheme = self._without_saturation(scheme, context)
        # As before rounding: luck of its integers then decides nothing.
        seen = graph if floats is None else floats
        ranges = calibrate(
            seen,
            [tensor.name for tensor in tensors_of(units)],
            feeds,
            method=self.calibration,
            form=scheme.activations,
            symmetric=scheme.symmetric,
            percentile=self.percentile,
            flat=True,
            widen=self.calibration == "mse",
            judge=NetworkJudge(
                graph=seen,
                chosen=frozenset(node_key(unit.node) for unit in units),
                scheme=scheme,
                feeds=feeds,
                left_out=self.exclude,
                report=context.progress,
            ),
            progress=context.progress,
        )
        units = without_unseen(units, ranges, context)
        remark_bodies(graph, context, units, self.exclude)
        if _is_nothing(units, context, hidden):
            return
        steps = {}
        if self.per_channel and outer.feeds is not None:
            steps = weight_steps(graph, context.view(), feeds, scheme.weights)
        variants = QuantizedVariants(
            graph=graph,
            ranges=ranges,
            scheme=scheme,
            left_out=self.exclude,
            original=original,
            floats=floats,
            samples=feeds if self.correct_bias and outer.feeds is not None else None,
            steps=steps,
        )
        selection = UnitSelection(
            variants=variants,
            units=units,
            feeds=feeds,
            context=context,
            measured=self.measure,
            options=options,
        )
        chosen, variants = self._select(selection, bounds)
        if not chosen:
            return
        if self.lower:
            lower_for_integers(original, outer, apart)
            if outer.exhausted:
                return  # the ranges are those of the graph lowered wholly
        outer.float_layers.network = clone(original) if floats is None else floats
        variants.apply(original, outer.quietly(), chosen)
        if variants.samples is not None:
            remark_uncorrected(original, outer, chosen)

    def _scheme(self) -> QuantizationScheme:
        return QuantizationScheme(
            read_format(self.weights, "weights", 8, narrow=True),
            # Integer kernels of runtimes take activations of 8 bits and more.
            read_format(self.activations, "activations", 16, stored=8),
            self.per_channel,
            self.symmetric,
        )

    def _without_saturation(
        self, scheme: QuantizationScheme, context: Context
    ) -> QuantizationScheme:
        """Return `scheme` with weights of 7 bits where asked for, or where the target needs it."""
        reduce = self.reduce_range
        if reduce is None and scheme.weights.bits > SAFE_BITS and saturates(context.target):
            reduce = True
            context.remark(seven_bits("reduce-range=false"))
        return scheme.with_weight_bits(SAFE_BITS) if reduce else scheme

    def _check_names(self, graph: gs.Graph) -> None:
        check_node_names(graph, "exclude", self.exclude)
        for op in self.operators:
            if op not in QUANTIZABLE:
                raise RefusedError(
                    f"operators names '{op}', which is not quantized"
                    f"{nearest(op, sorted(QUANTIZABLE))}"
                )

    def _units(self, graph: gs.Graph, context: Context) -> list[Unit]:
        units = [
            unit
            for unit in read_units(graph, context, self.exclude)
            if not unit.is_product or self._takes_product(unit, context)
        ]
        if self.operators:
            return [u for u in units if u.is_follower or u.node.op in self.operators]
        dear = not_worth(units, context.view())
        for unit in dear:
            context.decline(unit.node, "it stands among floats: its pairs cost more than it saves")
        left = {id(unit) for unit in dear}
        return [unit for unit in units if id(unit) not in left]

    def _takes_product(self, unit: Unit, context: Context) -> bool:
        reason = ""
        if not self.products:
            reason = "it multiplies two activations; products=true takes these too"
        elif self._scheme().activations.signed and saturates(context.target):
            reason = "products of signed activations saturate on this CPU; take unsigned ones"
        if reason:
            context.decline(unit.node, reason)
        return not reason

    def _select(
        self, selection: UnitSelection, bounds: AccuracyBounds
    ) -> tuple[frozenset[str], QuantizedVariants]:
        """Return the nodes that run on integers, and the variants with the grids they have then.

        Remarks on how to get them without measuring.
        """
        units = selection.units
        everything = frozenset(node_key(unit.node) for unit in units if not unit.is_follower)
        chosen = selection.without_slow(everything)
        asked = bounds or (GUARD if self.guard == "on" else AccuracyBounds())
        if chosen and self.channel_scales:
            mixed = bool(self.give_back) or (asked and not selection.keeps(chosen, asked))
            if mixed or selection.has_borders(chosen):
                selection = selection.with_channel_scales(chosen)
        if bounds:
            chosen = selection.within(chosen, bounds)
        elif chosen:
            if self.give_back:
                chosen = selection.give_back(chosen, self.give_back)
            if self.guard == "on":
                chosen = selection.within(chosen, GUARD)
        if chosen and self.channel_scales:
            selection = selection.judged_by_outputs(chosen)
        if not chosen or not selection.is_faster(chosen):
            return frozenset(), selection.variants
        left_out = excluded(units, chosen)
        if left_out:
            again = replace(
                self,
                measure=False,
                exclude=(*self.exclude, *left_out),
                max_drop=None,
                metric=AUTO,
                class_axis=None,
                labels=(),
                min_top1_agreement=None,
                min_sqnr=None,
                guard="off",
                give_back=0.0,
            )
            selection.context.remark(f"the same without measuring: {again!s}")
        return chosen, selection.variants


def _is_nothing(units: Sequence[Unit], context: Context, hidden: str) -> bool:
    """Say whether no layer is among `units`; the graph then stays as it was, and why is told.

    `hidden`: what layers there are that nothing sees.
    """
    if any(not unit.is_follower for unit in units):
        return False
    reasons = reasons_in_short(context.declined)
    if reasons:
        context.remark(f"nothing was done: {reasons}")
    context.go_back("there is nothing to quantize" + (hidden and f": {hidden}"))
    return True
