"""Remove the channels that have no effect, from every tensor and constant that holds them.

    W [x; c] + b = W_x x + (b + W_c c)       c: channels whose value is known
    W [x; z] + b = W_x x + b                 z: channels that are read with zero weights alone

A channel is removed with all that it is united with: through residual additions, concatenations,
splits, depthwise and grouped convolutions, gates, Flatten, shuffles. Beside padding with zeros only
a known value of zero is the same at every position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.variables import label
from ..channels.walk import Walk
from ..context import Context
from ..contract import Pass
from .shrink_cut import Cut
from .shrink_keep import Keep
from .shrink_values import Values


@dataclass(frozen=True)
class ShrinkChannels(Pass):
    """Remove channels that have no effect on the outputs, such as those that masks silenced."""

    name: ClassVar[str] = "shrink-channels"

    multiple: int = 0
    measure: bool = True
    exclude: tuple[str, ...] = ()

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Find what has no effect, and cut it out of the whole graph at once."""
        edit = context.edit()
        walk = Walk(context, edit)
        folds = Values(walk, graph).folds
        keep = Keep(walk, folds, max(self.multiple, 1))
        if keep.stays[keep.roots].all():
            return
        if not edit.begin():
            return
        Cut(walk, keep, folds, edit).run()
        edit.commit()


def removed(keep: Keep) -> int:
    """Count the channels that go."""
    return int((~keep.stays[np.unique(keep.roots)]).sum())


__all__ = ["ShrinkChannels", "label"]
