"""Remove the channels that have no effect, from every tensor and constant that holds them.

    W [x; c] + b = W_x x + (b + W_c c)       c: channels whose value is known
    W [x; z] + b = W_x x + b                 z: channels that are read with zero weights alone

A channel is removed with all that it is united with: through residual additions, concatenations,
splits, depthwise and grouped convolutions, gates, Flatten, shuffles. Beside padding with zeros only
a known value of zero is the same at every position.

A LayerNormalization takes its statistics over channels, also over those of value zero: with C' of C
left, mean m and variance v of these alone and those that it took before are not the same,

    m_C = (C'/C) m,    v_C = (C'/C) (v + (1 - C'/C) m^2)

and as m differs from position to position, no scale makes one of the other. So channels stay that
one normalizes over. `across-layernorm` lets them go: each takes its statistics over those left,
which is another function, for `recover` to follow. It is the same where the mean is zero, but for
the scale sqrt(C'/C).

Fewer channels are not always faster: a vector that is not full costs as much as one that is. So
the numbers left are rounded up to what is fastest where the target can be timed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ....ir.core.counted import counted
from ....ir.core.errors import RefusedError
from ...engine.context import Context
from ...engine.contract import Pass
from ...engine.node_names import check_node_names
from .measure import choose_multiple
from .plan import ShrinkPlan


@dataclass(frozen=True)
class ShrinkChannels(Pass):
    """Remove channels that have no effect on the outputs, such as those that masks silenced.

    - `multiple`: channels without effect stay until a layer has a multiple of this many; 0 chooses
      what is fastest on the target, and cuts nothing where that is.
    - `measure`: `false` takes no time, and then `multiple=0` removes all it can.
    - `exclude`: layers that keep all the channels they make.
    - `across-layernorm`: channels also go that LayerNormalization and RMSNormalization take their
      statistics over. These are of fewer channels then, which is not exact.
    """

    name: ClassVar[str] = "shrink-channels"

    multiple: int = 0
    measure: bool = True
    exclude: tuple[str, ...] = ()
    across_layernorm: bool = False

    def __post_init__(self) -> None:
        """Refuse a multiple that is none."""
        if self.multiple < 0:
            raise RefusedError(f"multiple is {self.multiple}; give 0 (chosen by measuring) or more")

    @property
    def is_exact(self) -> bool:
        """Say whether statistics stay as they are."""
        return not self.across_layernorm

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Cut what has no effect out of the whole graph, until nothing is left to cut."""
        check_node_names(graph, "exclude", self.exclude)
        multiple = self.multiple
        while True:
            across = self.across_layernorm
            plan = ShrinkPlan(graph, context, self.exclude, across_layernorm=across)
            plan.explain()
            if not plan.removable(multiple or 1):
                if not (context.edits or context.declined):
                    context.remark(
                        "there is nothing to cut: every channel has an effect; prune with "
                        "granularity=channel silences those that matter least",
                        idle=True,
                    )
                return
            if not multiple:
                chosen = self._multiple(graph, context)
                if chosen is None:
                    return
                multiple = chosen
            renormalized = plan.renormalized(multiple)
            with context.editing() as edit:
                plan.cut(edit, multiple, edit.left)
            # A grouped convolution that is left with one channel a group ties fewer together.
            if not edit.count:
                return
            if renormalized:
                count = counted(renormalized, "normalization takes", "normalizations take")
                context.remark(
                    f"{count} statistics over fewer channels now, which is another function; "
                    "recover follows it"
                )

    def _multiple(self, graph: gs.Graph, context: Context) -> int | None:
        if not self.measure:
            return 1
        across = self.across_layernorm
        return choose_multiple(graph, context, self.exclude, across_layernorm=across)
