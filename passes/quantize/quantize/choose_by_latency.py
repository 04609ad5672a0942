"""Which operators run on integers, by measured latency.

Operators are taken by kind (residual additions, gates, depthwise convolutions, ...): starting from
all of them on integers, the kind whose return to float helps most goes back, until none helps.
What is left must then beat the float graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....ir.core.variables import node_key
from ....ir.graph.view import View
from ...engine.stopwatch import Stopwatch
from ..qdq.units import Unit
from .variants import QuantizedVariants

# A kind goes back to float for a gain of at least this part of the time: below is noise, and floats
# take four times the space.
_WORTHWHILE = 0.05
_SECONDS = 1.5
# Integers must be this much faster than float to be worth their error.
_LEAST_GAIN = 0.02


class LatencyChooser:
    """Measures choices over `variants` on a target and keeps the fastest."""

    def __init__(
        self,
        variants: QuantizedVariants,
        stopwatch: Stopwatch,
        feed: Mapping[str, np.ndarray[Any, Any]],
        target: str,
        seed: int,
    ) -> None:
        self._variants = variants
        self._stopwatch = stopwatch
        self._feed = feed
        self._target = target
        self._seed = seed

    def seconds(self, choices: Sequence[frozenset[str]]) -> list[float]:
        """Return the median seconds of one run under each choice; an empty one is all float."""
        variants = self._variants
        floats = variants.graph if variants.original is None else variants.original
        graphs = [variants.build(c) if c else floats for c in choices]
        return self._stopwatch(
            graphs,
            self._feed,
            self._target,
            seconds=_SECONDS * len(choices) / 2,
            seed=self._seed,
        )

    def drop_slow_kinds(
        self, kinds: Mapping[str, frozenset[str]]
    ) -> tuple[frozenset[str], list[str]]:
        """Return the nodes of the kinds worth keeping, and which kinds went back to float."""
        kept = dict(kinds)
        dropped: list[str] = []
        while len(kept) > 1:
            base = frozenset().union(*kept.values())
            names = list(kept)
            first, *others = self.seconds([base, *(base - kept[name] for name in names)])
            best = min(range(len(names)), key=lambda i: others[i])
            # The best of many is the luckiest of many: it has to win again, side by side.
            candidate = base - kept[names[best]]
            if not (_is_shorter(others[best], first) and self._wins_again(candidate, base)):
                break
            dropped.append(names[best])
            del kept[names[best]]
        return frozenset().union(*kept.values()), dropped

    def _wins_again(self, candidate: frozenset[str], base: frozenset[str]) -> bool:
        time, first = self.seconds([candidate, base])
        return _is_shorter(time, first)

    def gain(self, chosen: frozenset[str]) -> float:
        """Return how many times faster than the float graph `chosen` is."""
        float_time, time = self.seconds([frozenset(), chosen])
        return float_time / time


def _is_shorter(time: float, first: float) -> bool:
    return time <= (1 - _WORTHWHILE) * first


def is_worthwhile(gain: float) -> bool:
    """Say whether a gain stands out from noise."""
    return gain >= 1 + _LEAST_GAIN


def kinds_of(units: Sequence[Unit], view: View) -> dict[str, frozenset[str]]:
    """Return the names of the nodes of each kind of operator that has weights or makes values."""
    found: dict[str, set[str]] = {}
    for unit in units:
        if not unit.is_follower:
            found.setdefault(_kind(unit, view), set()).add(node_key(unit.node))
    return {kind: frozenset(names) for kind, names in found.items()}


def _kind(unit: Unit, view: View) -> str:
    node = unit.node
    if node.op in ("Sigmoid", "Mul"):
        return "gates"  # neither helps without the other
    if node.op not in ("Conv", "ConvTranspose"):
        return str(node.op)
    shape = view.shape(unit.outputs[0])
    if shape is not None and len(shape) > 2 and all(size == 1 for size in shape[2:]):
        return f"{node.op} of pooled values"
    group = int(node.attrs.get("group", 1))
    if group == 1:
        return str(node.op)
    source = view.shape(unit.inputs[0])
    depthwise = source is not None and len(source) > 1 and source[1] == group
    return f"{'depthwise' if depthwise else 'grouped'} {node.op}"
