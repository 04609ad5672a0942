"""Scores of weights alone: their magnitude, or chance.

    l1: sum |w|          l2: sqrt(sum w^2)          random: uniform on [0, 1)

over the weights of a unit. For channels those are the rows of the layers that make it, each as
large as a normalization that follows leaves it, so that folding one before pruning changes nothing
(Han et al., "Learning both weights and connections", NIPS 2015; Li et al., "Pruning filters for
efficient ConvNets", ICLR 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from .....ir.core.variables import dense_values
from .....ir.ops.masks import read_masked
from ..units import Units
from .criterion import Array, Criterion, ScoringContext


class L1(Criterion):
    """Sum of absolute weights."""

    name: ClassVar[str] = "l1"

    def scores(self, rows: Sequence[Units], state: ScoringContext) -> list[Array]:
        """Return sum |w| for each unit."""
        masks = _masks(state)
        return [
            row.pooled({name: np.abs(w) for name, w in _weights(row, masks)}, scaled=1)
            for row in rows
        ]


class L2(Criterion):
    """Euclidean norm of the weights."""

    name: ClassVar[str] = "l2"

    def scores(self, rows: Sequence[Units], state: ScoringContext) -> list[Array]:
        """Return sqrt(sum w^2) for each unit."""
        masks = _masks(state)
        return [
            np.sqrt(row.pooled({name: w * w for name, w in _weights(row, masks)}, scaled=2))
            for row in rows
        ]


class Random(Criterion):
    """Chance, the same in every run with the same seed."""

    name: ClassVar[str] = "random"
    comparable: ClassVar[bool] = True

    def scores(self, rows: Sequence[Units], state: ScoringContext) -> list[Array]:
        """Return numbers that do not depend on what is masked."""
        generator = np.random.default_rng(state.context.seed)
        return [generator.random(len(row.gone)) for row in rows]


def _masks(state: ScoringContext) -> dict[str, Array]:
    """Return the masks of the graph so far, by the names of the weights."""
    masked = filter(None, map(read_masked, state.graph.nodes))
    held = {each.weight.name: dense_values(each.mask) for each in masked}
    return {name: mask for name, mask in held.items() if mask is not None}


def _weights(row: Units, masks: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    for name, weight in row.weights().items():
        yield name, weight * masks[name] if name in masks else weight
