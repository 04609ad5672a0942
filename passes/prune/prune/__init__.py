"""Prune weights: those that matter least are multiplied with a mask of zeros.

    f(x; W)  ->  f(x; W * M)        M[i] = 0 where score(i) is among the lowest, else 1

A criterion gives the scores, of single weights or of what goes as one: the taps of a kernel, N of M
neighbours, or a channel with all that is united with it. Over all layers together, or in each, the
lowest are masked until the amount is reached. The product with the mask is an ordinary Mul of two
constants, so that the weights below it are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ....ir.core.errors import FeedError
from ....ir.ops.traits.groups import LAYERS
from ...engine.context import Context
from ...engine.contract import Pass
from ...fusion.inline_fused_operators import inline_fused_operators
from .criteria.criterion import Criterion
from .criteria.table import CRITERIA
from .masked_weights import lift_constants
from .options import PruneOptions
from .prune_channels import prune_channels
from .prune_weights import prune_weights


@dataclass(frozen=True)
class Prune(PruneOptions, Pass):
    """Mask the weights that matter least, so that a graph runs, saves and trains without them.

    - `criterion`: what says how much they matter: l1, l2, gradient, taylor, activation, apoz,
      bn-scale, reconstruction or random.
    - `granularity`: what goes as one: weight, kernel (its taps), channel, or N:M such as 2:4: of 4
      input channels in a row, for each output and tap, 2 weights stay.
    - `amount`: the part that is gone afterwards, in [0, 1), `none` for a half; what is masked
      already counts.
    - `of`: what `amount` is a part of: weights (or kernels), channels, or with granularity=channel
      the multiply-accumulates of the graph.
    - `scope`: one amount for all layers together, or for each.
    - `steps`: so often scores are taken on the way to `amount`, under the masks of the steps
      before.
    - `step`: do this one of the `steps` alone.
    - `schedule`: how `amount` is reached: `cubic` takes most at first, `linear` as much each time.
    - `across-layernorm`: channels also go that LayerNormalization and RMSNormalization take their
      statistics over; `shrink-channels` says what that changes, and cuts them with the same option.
    - `only`: take the weights, or channels, of these nodes alone; `amount` is a part of theirs.
    - `exclude`: nodes whose weights, or channels that they make, stay.
    - `multiple`: what the number of channels left is a multiple of; `none`: a power of two up to 16
      that fits the width.
    - `least`: the part of each layer that stays; `none`: a tenth of the channels, one weight.
    - `labels`: the entry of the feeds with class indices, for the loss of gradient and taylor;
      `none`: targets are drawn from what the original graph gives.
    - `loss`: another loss, `loss(outputs, feed)`, from Python only; it is handed the entry of
      `labels` too.
    """

    name: ClassVar[str] = "prune"
    exact: ClassVar[bool] = False

    def extra_feeds(self) -> tuple[str, ...]:
        """Return the entry that has the labels."""
        return () if self.labels is None else (self.labels,)

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Score what can go, choose, and write the masks."""
        inline_fused_operators(graph, context)
        self.check_nodes(graph, context, LAYERS)
        criterion = CRITERIA[self.criterion]()
        self._check_feeds(criterion, context)
        with context.editing() as edit:
            lift_constants(graph, edit)
        if self.granularity == "channel":
            prune_channels(graph, context, self, criterion)
        else:
            prune_weights(graph, context, self, criterion)

    def _check_feeds(self, criterion: Criterion, context: Context) -> None:
        if criterion.needs_feeds and context.feeds is None:
            raise FeedError(
                f"criterion {criterion.name} looks at data, and there are no feeds; give some with "
                "--feeds or feeds=, or take criterion l1, l2 or random"
            )
