"""Rounding that looks at what a layer gives, not at each weight: AdaRound's problem, solved in
moments.

    min over s, Q, c of  E |W x + b - (s Q x^ + c)|^2          Q integers, x^ the rounded network's

Rounding every weight to its nearest integer adds the same error variance whatever the data; but
inputs are correlated, and errors that cancel over the inputs that occur cost nothing. The best bias
is known in closed form; with it the rest is one quadratic form a row, for which integers are
searched, coordinate by coordinate, over several steps s.

Sources: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (2020), the
objective; Hubara et al., "Accurate Post Training Quantization With Small Calibration Sets" (2021);
Frantar et al., "GPTQ" (2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ...ir.ops.linear.kernel import Kernel
from ...ir.ops.linear.layer import Layer
from ..analysis.observe.moments import Moments
from ..analysis.observe.sequential_fitting import has_bias
from ..engine.context import Context
from ..engine.contract import Pass
from ..fusion.inline_fused_operators import inline_fused_operators
from .calibration_feeds import calibration_feeds
from .instruction_set import weight_bits
from .rounding.layers import grid_limit, layers_to_round
from .rounding.reconstruct import reconstruct
from .rounding.sequential_rounding import round_in_sequence


@dataclass(frozen=True, kw_only=True)
class RoundAdaptively(Pass):
    """Round weights to integer grids so that each layer's output stays close to the float one's.

    Weights stay float32 and lie on the grid that `quantize` then keeps; biases take the mean error.

    - `bits`: of the integers, 2 to 8; `none`: what `quantize` gives weights on the target.
    - `weights`, `reduce-range`: as `quantize` will have them; an option of `int8` reaches both.
    - `per-channel`: a step for each output channel, instead of one for the weight.
    - `positions`: output positions of a layer that are looked at in all, shared out over the feeds.
    - `sequential`: each layer makes up for the errors of those before it.
    - `exclude`: nodes to leave in float, by name or, where nameless, by first output.
    """

    name: ClassVar[str] = "round-adaptively"
    exact: ClassVar[bool] = False
    prepares: ClassVar[bool] = True

    bits: int | None = None
    weights: str = "int8"
    reduce_range: bool | None = None
    per_channel: bool = True
    positions: int = 8192
    sequential: bool = True
    exclude: tuple[str, ...] = ()

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Round the layers of `graph` in order."""
        bits = weight_bits(
            self.bits,
            weights=self.weights,
            reduce_range=self.reduce_range,
            target=context.target,
        )
        qmax = grid_limit(self.name, bits)
        inline_fused_operators(graph, context)
        layers = layers_to_round(graph, context.view(), context, qmax, self.exclude)
        if not layers:
            return

        def solve(layer: Layer, moments: Moments) -> Kernel:
            return reconstruct(
                layer.kernel(),
                moments,
                qmax,
                per_channel=self.per_channel,
                has_bias=has_bias(layer),
            ).kernel

        round_in_sequence(
            graph,
            layers,
            calibration_feeds(graph, context),
            solve,
            context,
            positions=self.positions,
            sequential=self.sequential,
        )
