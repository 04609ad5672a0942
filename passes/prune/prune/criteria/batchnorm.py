"""Score of channels by the normalization behind them: |scale|.

(Liu et al., "Learning efficient convolutional networks through network slimming", ICCV 2017)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from .....ir.graph.view import View
from ..channel_units import ChannelUnits
from ..units import Units
from .criterion import Array, Criterion, ScoringContext


class BnScale(Criterion):
    """|scale| of the BatchNormalization that follows, the mean where several layers make it."""

    name: ClassVar[str] = "bn-scale"
    channels_only: ClassVar[bool] = True

    def refusal(self, row: Units, view: View) -> str | None:
        """Return why there is no scale to look at."""
        if isinstance(row, ChannelUnits) and row.scales() is not None:
            return None
        return "no BatchNormalization follows; prune before fold-batchnorm"

    def scores(self, rows: Sequence[Units], state: ScoringContext) -> list[Array]:
        """Return |scale| of each channel."""
        found = []
        for row in rows:
            scales = row.scales() if isinstance(row, ChannelUnits) else None
            found.append(np.zeros(len(row.gone)) if scales is None else scales)
        return found
