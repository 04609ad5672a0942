"""Which nodes to take back to float, by measurement.

Candidates come from what was found: the layers that lose most, with the operators on the far side
of a pair where the pair is what loses, and the operators without an integer kernel, by kind. Each
is tried alone. Then they are taken greedily: what makes the model faster and not worse, and then
what raises the SQNR most for its time, as long as the model stays faster than float or gains 6 dB.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs

from ....ir.core.counted import counted
from ....ir.core.variables import node_key
from ....passes.engine.context import Context
from ....passes.quantize.qdq.pairs import Pairs
from .report import LayerReport, Quality, Suggestion

# An exclusion counts as a gain from here on, and as free below this part of the time.
LEAST_DB = 0.5
# This much repairs a defect, whatever the time.
REPAIR_DB = 6.0
NOISE = 0.03
_GOOD_ENOUGH_DB = 40.0

Candidate = tuple[tuple[str, ...], str]
Measure = Callable[[Sequence[Sequence[str]]], list[Quality]]


def candidates(graph: gs.Graph, layers: Sequence[LayerReport], most: int) -> list[Candidate]:
    """Return sets of nodes worth trying with the reason of each: at most `most`, worst first."""
    pairs = Pairs(graph, Context(graph))
    nodes = {node_key(node): node for node in pairs.nodes}
    found: dict[tuple[str, ...], str] = {}
    for layer in worst_first(layers)[: max(most - most // 3, 1)]:
        db = f"{layer.local:.1f} dB"
        by_pair = layer.rounding is not None and (
            layer.weights is None or layer.rounding < layer.weights
        )
        if by_pair:
            names = _beside(nodes[layer.node], pairs)
            found.setdefault(names, f"the pair behind {layer.node} leaves {db}")
        else:
            found.setdefault((layer.node,), f"the integer weights of {layer.node} leave {db}")
    kinds: dict[str, list[str]] = defaultdict(list)
    for layer in layers:
        if layer.precision == "float32" and pairs.is_unit(nodes[layer.node]):
            kinds[layer.op].append(layer.node)
    bodies: dict[str, list[str]] = defaultdict(list)
    for layer in layers:
        if layer.inside is not None and pairs.is_unit(nodes[layer.node]):
            bodies[layer.inside].append(layer.node)
    for holder, names_of in bodies.items():
        if len(found) < most:
            told = counted(len(names_of), "operator is on integers", "operators are on integers")
            found.setdefault(tuple(names_of), f"{told} in the body of {holder}")
    for op, names_of in sorted(kinds.items(), key=lambda item: -len(item[1])):
        if len(found) < most:
            count = len(names_of)
            found.setdefault(
                tuple(names_of), f"{count} {op} between pairs run{'s' * (count == 1)} in float32"
            )
    return list(found.items())[:most]


def worst_first(layers: Sequence[LayerReport]) -> list[LayerReport]:
    """Return the layers whose own error is known and finite, the worst first."""
    known = [layer for layer in layers if layer.local is not None and layer.local < _GOOD_ENOUGH_DB]
    return sorted(known, key=lambda layer: layer.local if layer.local is not None else 0.0)


def _beside(node: gs.Node, pairs: Pairs) -> tuple[str, ...]:
    """Return `node` and all operators that need the pairs on its result."""
    found = {node_key(node): None}
    for tensor in (pairs.result(node), *node.outputs):
        for pair in pairs.behind(tensor):
            found.update((node_key(reader), None) for reader in pairs.readers(pair))
    return tuple(found)


def choose(
    tried: Sequence[Candidate],
    measure: Measure,
    before: Quality,
    original: Quality,
    progress: Callable[[float], None] = lambda fraction: None,
) -> tuple[list[Suggestion], Quality | None]:
    """Measure each candidate alone, then together in order of worth; return both.

    The suggestions are those with a gain, the best first; the quality is that of all applied.
    """
    alone: list[Suggestion] = []
    for done, (names, why) in enumerate(tried):
        now, with_it = measure([(), names])
        gain = difference(with_it.sqnr_db, before.sqnr_db)
        alone.append(
            Suggestion(
                nodes=names,
                why=why,
                gain_db=gain,
                gain_top1=_gain(with_it.top1_agreement, before.top1_agreement),
                gain_metric=_gain(_value(with_it), _value(before)),
                cost_ms=with_it.ms - now.ms,
            )
        )
        progress((done + 1) / (2 * len(tried)))
    worth = [s for s in alone if _pays(s.gain_db, s.cost_ms, before)]
    worth.sort(key=lambda s: -_worth(s, before))
    kept: list[str] = []
    applied: list[int] = []
    current: Quality | None = None
    for place, suggestion in enumerate(worth):
        both = list(dict.fromkeys([*kept, *suggestion.nodes]))
        now, with_it = measure([kept, both])
        gain = difference(with_it.sqnr_db, now.sqnr_db)
        slower = with_it.ms >= original.ms > now.ms and gain < REPAIR_DB
        if not slower and _pays(gain, with_it.ms - now.ms, before):
            kept, current = both, with_it
            applied.append(place)
        progress(0.5 + (place + 1) / (2 * len(worth)))
    marked = [replace(s, applied=place in applied) for place, s in enumerate(worth)]
    return marked, current


def _gain(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else difference(a, b)


def _value(quality: Quality) -> float | None:
    return None if quality.metric is None else quality.metric.value


def difference(a: float, b: float) -> float:
    """Return a - b in dB, 0 where both are the same infinity."""
    return 0.0 if a == b else a - b


def _pays(gain: float, cost: float, before: Quality) -> bool:
    """Say whether it is better at any price, or faster by more than noise and not worse."""
    return gain >= LEAST_DB or (cost < -NOISE * before.ms and gain > -LEAST_DB)


def _worth(suggestion: Suggestion, before: Quality) -> float:
    """Return dB for each part of the time; what is free counts as if it cost what noise does."""
    if suggestion.cost_ms < -NOISE * before.ms:
        return 1e6 + suggestion.gain_db
    return suggestion.gain_db / max(suggestion.cost_ms / before.ms, NOISE)
