"""Scale channels between layers so that each makes good use of its grid of integers.

    W2 f(W1 x + b1) = (W2 / t) f((t W1) x + t b1)        t > 0 per channel, f positively homogeneous

What to gain depends on the grids. Where each row of weights has its own, scaling the rows of W1
costs and gains nothing: what counts is that every channel between fills the range of their tensor
and that no column of W2 dwarfs the others. With one grid for all rows the rows of W1 count too, as
in Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV
2019), section 4.1.

A Clip at 6 does not pass a scale on. Its channels stay as they are, and the function is the same
for every input. Measured on EfficientNet-Lite0 (int8 weights with a grid for each row, uint8
activations): scaling the linear bottlenecks alone raises the SQNR on other crops than the feeds by
0.7 dB. Scaling channels under their bounds too gave no more, and by itself left 39 to 43 dB of the
float network, since other crops do reach the bounds.

High biases (section 4.1.3) are not absorbed: a channel that is above c on all feeds would give its
constant part to the next bias, which padding with zeros, as depthwise convolutions have, and a
bound above do not allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.bounds import require_within
from ...engine.context import Context
from ...engine.contract import Pass
from ..calibration_feeds import calibration_feeds
from ..grids.formats import IntegerFormat
from ..instruction_set import weight_bits
from .channel_ranges import observe_channels
from .noise import NoiseFormats, noise_of
from .problems import ScaledLayer, ScaleProblem, scale_problems
from .rescale import rescaled, write
from .scalable_channels import ScalableChannels, read_scalable_channels
from .solve import solve


@dataclass(frozen=True, kw_only=True)
class EqualizeRanges(Pass):
    """Scale the channels between layers so that quantizing them will add less noise.

    Channels that a graph output shows or an operator needs as they are stay as they are, and so do
    weights that are shared, overridable or on an integer grid already. A group of channels changes
    only where the noise predicted for the layers reading it falls by 5 % on samples held back, by
    a standard error more than that and beside a range as wide as `quantize` will make it, which
    takes two samples or more.

    Not `exact`: with `headroom` the function may change beyond the feeds, and without it values
    that are infinite or denormal are scaled with the rest.

    - `per-channel`: each output channel of a weight will have its own grid.
    - `weight-bits`: the width that weights will have; `none`: as `quantize` takes on the target.
    - `weights`, `reduce-range`: as `quantize` will have them; an option of `int8` reaches both.
    - `activation-bits`: the width that activations will have; 16 for those that stay float.
    - `headroom`: 0 leaves channels under a Clip's bound as they are; h >= 1 scales those that never
      reach it on the feeds as long as h times what was seen does not either, which is exact for
      such inputs alone.
    """

    name: ClassVar[str] = "equalize-ranges"
    exact: ClassVar[bool] = False
    prepares: ClassVar[bool] = True

    per_channel: bool = True
    weight_bits: int | None = None
    weights: str = "int8"
    reduce_range: bool | None = None
    activation_bits: int = 8
    headroom: float = 0.0

    def __post_init__(self) -> None:
        """Check that there are grids of so many bits."""
        require_within("weight-bits", 8 if self.weight_bits is None else self.weight_bits, 2, 16)
        require_within("activation-bits", self.activation_bits, 2, 16)
        require_within("headroom", self.headroom, 0)

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Measure the channels between the layers of `graph`, choose scales, and move them."""
        flow = read_scalable_channels(graph, context.view(), context.uses)
        for node, reason in flow.declined:
            context.decline(node, reason)
        if not self.headroom or context.feeds is None:
            reason = (
                "no feeds show whether its bound is reached"
                if self.headroom
                else "its bound would have to be scaled too; headroom=2 scales channels beneath it"
            )
            for bound in flow.open_bounds():
                flow.cells.fix(bound.source.cells, reason)
        if not any(flow.is_open(reached.source) for reached in flow.layers):
            _decline_fixed(flow, context)
            return
        problems = self._problems(graph, flow, context)
        _decline_fixed(flow, context)
        scales = solve([problem.group for problem in problems], len(flow.cells) + 1)
        current = {id(reached.layer.node): reached.layer for reached in flow.layers}
        with context.editing() as edit:
            for problem in problems:
                first = problem.layers[-1].reached.layer.node
                own = scales[problem.cells]
                if (own == 1).all():
                    context.decline(
                        first, "scaling its input would lower the noise by less than 5 %"
                    )
                    continue
                kept = np.ones(len(scales))
                kept[problem.cells] = own
                found = [
                    rescaled(current[id(m.reached.layer.node)], kept[m.before], kept[m.after])
                    for m in problem.layers
                ]
                if not all(part.is_kept for part in found):
                    context.decline(first, "its type cannot hold the scaled weights")
                    continue
                if not edit.begin():
                    break
                for part in found:
                    current[id(part.layer.node)] = write(edit, part)

    def _problems(
        self, graph: gs.Graph, flow: ScalableChannels, context: Context
    ) -> list[ScaleProblem]:
        bits = weight_bits(
            self.weight_bits,
            weights=self.weights,
            reduce_range=self.reduce_range,
            target=context.target,
        )
        steps = NoiseFormats(
            IntegerFormat(bits, signed=True, narrow=True),
            IntegerFormat(self.activation_bits, signed=False),
            self.per_channel,
        )
        measured = [r for r in flow.layers if not self.per_channel or flow.is_open(r.source)]
        bounds = [b for b in flow.open_bounds() if flow.is_open(b.source)]
        wanted = [*(r.read for r in measured), *(b.source for b in bounds)]
        seen = observe_channels(graph, wanted, calibration_feeds(graph, context), context.progress)
        roots = flow.cells.roots()
        most = np.full(len(roots) + 1, np.inf)
        for bound in bounds:
            found, cells = seen[bound.source.tensor.name], bound.source.cells
            largest = bound.largest_scales(found.low, found.high, self.headroom)
            np.minimum.at(most, roots[cells], np.maximum(largest, 1))
            flow.cells.fix(cells[largest == 0], "its bound is reached on the feeds")
        noise = {id(r): noise_of(r, seen[r.read.tensor.name], steps) for r in measured}
        for reached in measured:
            if noise[id(reached)] is None and reached.source is not None:
                flow.cells.fix(reached.source.cells, "one sample does not show what others reach")
        free = np.append(~flow.cells.fixed(), False)
        outside = np.append(roots, len(roots))
        members = [
            ScaledLayer(
                r,
                noise.get(id(r)),
                outside[r.read.cells],
                outside[r.result.cells],
            )
            for r in flow.layers
        ]
        return scale_problems(members, free, most, coupled=not self.per_channel)


def _decline_fixed(flow: ScalableChannels, context: Context) -> None:
    for reached in flow.layers:
        if not flow.is_open(reached.result):
            reason = flow.cells.reason(int(reached.result.cells[0]))
            context.decline(reached.layer.node, str(reason))
