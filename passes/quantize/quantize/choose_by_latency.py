"""Which operators run on integers, by measured latency.

Operators are taken by kind (residual additions, gates, depthwise convolutions, ...): starting from
all of them on integers, the kind whose return to float helps most goes back, until none helps.
What is left must then beat the float graph. What measuring cannot tell apart goes to the more
accurate choice: a graph stays float, and so does a kind without weights, which would save no space.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ....ir.core.variables import node_key
from ....ir.graph.view import View
from ...engine.fingerprint import fingerprint
from ...engine.stopwatch import RepeatedStopwatch
from ..qdq.units import Unit
from .latency_ratio import MOST, LatencyRatio, measure_graphs
from .variants import QuantizedVariants

# A kind with weights goes back to float for a gain of at least this part of the time: floats take
# four times the space.
_WORTHWHILE = 0.03
# Of one choice in one measurement; whether a kind pays is measured less often than the whole.
_SECONDS = 0.3
_MOST_OF_KINDS = 8
# Integers must be this much faster than float to be worth their error.
LEAST_GAIN = 0.02
_MOST_TIME = 1 / (1 + LEAST_GAIN)


class LatencyChooser:
    """Measures choices over `variants` on a target and keeps the fastest."""

    def __init__(
        self,
        variants: QuantizedVariants,
        stopwatch: RepeatedStopwatch,
        feed: Mapping[str, np.ndarray[Any, Any]],
        target: str,
        seed: int,
    ) -> None:
        self._variants = variants
        self._stopwatch = stopwatch
        self._feed = feed
        self._target = target
        self._seed = seed

    def ratios(
        self, choices: Sequence[frozenset[str]], border: float | None = None, most: int = MOST
    ) -> list[LatencyRatio]:
        """Return the time of each choice but the first over that of the first; empty: all float.

        It is measured until it is known on which side of `border` they lie, or `most` times.
        """
        variants = self._variants
        floats = variants.graph if variants.original is None else variants.original
        graphs = [variants.build(c) if c else floats for c in choices]
        return measure_graphs(
            self._stopwatch,
            graphs,
            self._feed,
            self._target,
            seconds=_SECONDS * len(choices),
            seed=self._seed,
            border=border,
            most=most,
        )

    def drop_slow_kinds(
        self, kinds: Mapping[str, frozenset[str]], weightless: Collection[str] = ()
    ) -> tuple[frozenset[str], list[str]]:
        """Return the nodes of the kinds worth keeping, and which kinds went back to float.

        `weightless`: the kinds that go back unless that is known to be slower.
        """
        kept = dict(kinds)
        dropped: list[str] = []
        while len(kept) > 1:
            base = frozenset().union(*kept.values())
            names = [name for name in kept if self._matters(kept[name], base)]
            if not names:
                break
            found = self.ratios([base, *(base - kept[name] for name in names)])
            borders = {name: 1.0 if name in weightless else 1 - _WORTHWHILE for name in names}
            pairs = zip(names, (each.ratio for each in found), strict=True)
            tempting = {name: ratio for name, ratio in pairs if ratio <= borders[name]}
            if not tempting:
                break
            # The best of many is the luckiest of many: it has to win again, side by side.
            name = min(tempting, key=lambda each: tempting[each])
            (again,) = self.ratios([base, base - kept[name]], borders[name], _MOST_OF_KINDS)
            if again.low > 1 if name in weightless else again.high >= borders[name]:
                break
            dropped.append(name)
            del kept[name]
        return frozenset().union(*kept.values()), dropped

    def _matters(self, kind: frozenset[str], base: frozenset[str]) -> bool:
        """Say whether `base` is another graph without `kind`: its neighbours may ask for the same.

        What has pairs before and behind it for their sake runs on integers by itself.
        """
        without, whole = (self._variants.build(each) for each in (base - kind, base))
        return fingerprint(without) != fingerprint(whole)

    def time(self, chosen: frozenset[str]) -> LatencyRatio:
        """Return the time of `chosen` over that of the float graph."""
        (found,) = self.ratios([frozenset(), chosen], _MOST_TIME)
        return found


def is_worthwhile(time: LatencyRatio) -> bool:
    """Say whether integers are known to gain enough on floats."""
    return time.high <= _MOST_TIME


def kinds_of(units: Sequence[Unit], view: View) -> dict[str, frozenset[str]]:
    """Return the names of the nodes of each kind of operator that has weights or makes values."""
    found: dict[str, set[str]] = {}
    for unit in units:
        if not unit.is_follower:
            found.setdefault(_kind(unit, view), set()).add(node_key(unit.node))
    return {kind: frozenset(names) for kind, names in found.items()}


def weightless(units: Sequence[Unit], view: View) -> frozenset[str]:
    """Return the kinds of which no operator has weights."""
    kinds = {_kind(unit, view) for unit in units if not unit.is_follower}
    return frozenset(kinds - {_kind(unit, view) for unit in units if unit.is_linear})


def _kind(unit: Unit, view: View) -> str:
    node = unit.node
    if unit.is_product:
        return "MatMul of two activations"
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
