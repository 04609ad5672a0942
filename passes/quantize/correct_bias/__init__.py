"""Biases that take back the mean error which rounded weights make.

    y^ = W^ x^ + b^,     b^ = b - (E[W^ x^] - E[W x])        W^: W on the nearest integer grid

Rounding errors of few weights, as a depthwise convolution has, do not average out: they shift a
channel's mean, and every sample by the same amount. Empirically, x^ is what the layer reads on the
feeds once those before it are rounded and corrected; analytically, without feeds, E[x] is carried
from the graph's input through the layers and x^ taken as x.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction"
(2019), section 4.2 and appendix D.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.bounds import require_within
from ....ir.graph.view import View
from ....ir.ops.linear.kernel import Kernel
from ....ir.ops.linear.layer import Layer, write_layer
from ...analysis.observe.moments import Moments
from ...analysis.observe.sequential_fitting import has_bias
from ...engine.context import Context
from ...engine.contract import Pass
from ...fusion.inline_fused_operators import inline_fused_operators
from ..calibration_feeds import calibration_feeds
from ..instruction_set import weight_bits
from ..rounding.layers import grid_limit, layers_to_round
from ..rounding.reconstruct import best_bias, snap
from ..rounding.sequential_rounding import round_in_sequence
from .channel_means import Normal, channel_moments


@dataclass(frozen=True, kw_only=True)
class CorrectBias(Pass):
    """Round weights to the nearest integer grid, and let biases take back the mean error.

    Weights stay float32 and lie on the grid that `quantize` then keeps; those on a grid already
    have no error to take back.

    - `mode`: `empirical` measures means on the feeds; `analytic` needs none and assumes inputs of
      `input-mean` and `input-variance`.
    - `bits`: of the integers, 2 to 8; `none`: what `quantize` gives weights on the target.
    - `weights`, `reduce-range`: as `quantize` will have them; an option of `int8` reaches both.
    - `per-channel`: a step for each output channel, instead of one for the weight.
    - `positions`: output positions of a layer that are looked at in all, shared out over the feeds.
    - `input-mean`: mean of the graph inputs, for `analytic`.
    - `input-variance`: variance of the graph inputs, for `analytic`.
    - `exclude`: nodes to leave in float, by name or, where nameless, by first output.
    """

    name: ClassVar[str] = "correct-bias"
    exact: ClassVar[bool] = False
    prepares: ClassVar[bool] = True

    mode: Literal["empirical", "analytic"] = "empirical"
    bits: int | None = None
    weights: str = "int8"
    reduce_range: bool | None = None
    per_channel: bool = True
    positions: int = 8192
    input_mean: float = 0.0
    input_variance: float = 1.0
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the moments are those of something."""
        require_within("input-mean", self.input_mean, -math.inf)
        require_within("input-variance", self.input_variance, 0)

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Round and correct the layers of `graph` in order."""
        bits = weight_bits(
            self.bits,
            weights=self.weights,
            reduce_range=self.reduce_range,
            target=context.target,
        )
        qmax = grid_limit(self.name, bits)
        inline_fused_operators(graph, context)
        view = context.view()
        layers = []
        for layer in layers_to_round(graph, view, context, qmax, self.exclude):
            if has_bias(layer):
                layers.append(layer)
            else:
                context.decline(layer.node, "it adds no bias that could be corrected")
        if not layers:
            return
        if self.mode == "analytic":
            self._from_moments(layers, view, context, qmax)
            return

        def solve(layer: Layer, moments: Moments) -> Kernel:
            kernel = layer.kernel()
            found = self._rounded(kernel, qmax)
            return replace(found, bias=best_bias(kernel, found, moments))

        round_in_sequence(
            graph,
            layers,
            calibration_feeds(graph, context),
            solve,
            context,
            positions=self.positions,
            second=False,
        )

    def _rounded(self, kernel: Kernel, qmax: int) -> Kernel:
        rows = kernel.weight.reshape(*kernel.weight.shape[:2], -1)
        found = snap(rows, qmax, per_channel=self.per_channel)
        return replace(kernel, weight=found.reshape(kernel.weight.shape))

    def _from_moments(self, layers: list[Layer], view: View, context: Context, qmax: int) -> None:
        inputs = Normal(np.array([self.input_mean]), np.array([self.input_variance]))
        known = channel_moments(view, inputs)
        with context.editing() as edit:
            for layer in layers:
                moments = known.get(id(layer.source))
                kernel = layer.kernel()
                if moments is None or len(moments.mean) != kernel.inputs:
                    context.decline(
                        layer.node, "the means of what it reads do not follow from the graph"
                    )
                    continue
                if not edit.begin():
                    break
                found = self._rounded(kernel, qmax)
                error = Kernel(found.weight - kernel.weight, None).of_constant(moments.mean)
                corrected = replace(found, bias=kernel.full_bias() - error)
                write_layer(edit, layer, corrected, like=view.type(layer.node.outputs[0]))
