"""What a criterion is given and gives: one score for each unit, the lowest go first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.graph.view import View
from ....engine.context import Context
from ..units import Units

Array = np.ndarray[Any, Any]
Loss = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class ScoringContext:
    """The graph as it is masked so far, and what scores may look at beside it.

    `context` has feeds, seed and the original graph. `loss(outputs, feed)`: of tensors by output
    name, and of the arrays of one feed; `labels`: the entry of the feeds that has class indices.
    """

    graph: gs.Graph
    context: Context
    loss: Loss | None = None
    labels: str | None = None


class Criterion(ABC):
    """How much units matter, by some measure.

    `needs_feeds`: it looks at data. `channels_only`: it says nothing of single weights.
    `comparable`: scores of different layers have one unit, and are compared as they are.
    """

    name: ClassVar[str]
    needs_feeds: ClassVar[bool] = False
    channels_only: ClassVar[bool] = False
    comparable: ClassVar[bool] = False

    def refusal(self, row: Units, view: View) -> str | None:
        """Return why `row` cannot be scored, or None where it can."""
        return None

    @abstractmethod
    def scores(self, rows: Sequence[Units], state: ScoringContext) -> list[Array]:
        """Return the scores of each row's units, none negative."""
