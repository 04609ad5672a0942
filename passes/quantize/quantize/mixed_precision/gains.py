"""What each layer gains on integers, in seconds, and what every border to float costs.

A layer's gain is its time in the float graph less that in the integer one, both from the runtime's
own profile. Where the runtime does not name it, or nothing is measured, its multiply-accumulates
and the values it moves stand for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.variables import node_key
from .....ir.graph.view import View
from .....ir.ops.quantization.nodes import is_quantizer
from ....analysis.cost import cost
from ....engine.stopwatch import Profiler
from ...qdq.units import Unit
from ..variants import QuantizedVariants

# Seconds that integers save for a multiply-accumulate and for a value moved, and that a value takes
# across the border, quantized and laid out anew: what a core with VNNI was seen to need.
_PER_MAC = 1e-11
_PER_VALUE = 1e-10
_PER_CROSSING = 1e-9
_SECONDS = 1.0


@dataclass(frozen=True)
class IntegerGains:
    """Seconds that layers save on integers, by `node_key`, and that borders cost, by tensor name.

    `measured`: whether a runtime was asked, or operations were counted.
    """

    layers: Mapping[str, float]
    crossings: Mapping[str, float]
    measured: bool = False


def estimate_gains(graph: gs.Graph, view: View, layers: Sequence[Unit]) -> IntegerGains:
    """Return the gains that operation counts foretell: the same on every machine."""
    counted = zip(graph.nodes, cost(graph).nodes, strict=True)
    macs = {id(node): found.macs or 0 for node, found in counted}
    macs |= {id(u.node): _macs_of(u, view) for u in layers if id(u.node) not in macs}
    sizes = {t.name: _size(t, view) for unit in layers for t in (*unit.inputs, *unit.outputs)}
    gains = {
        node_key(unit.node): _PER_MAC * macs[id(unit.node)]
        + _PER_VALUE * sum(sizes[t.name] for t in (*unit.inputs, *unit.outputs))
        for unit in layers
    }
    return IntegerGains(gains, {name: _PER_CROSSING * size for name, size in sizes.items()})


def measure_gains(
    variants: QuantizedVariants,
    layers: Sequence[Unit],
    estimated: IntegerGains,
    profiler: Profiler,
    feed: Mapping[str, np.ndarray[Any, Any]],
    target: str,
) -> IntegerGains:
    """Return the gains of `layers` that the runtime's profiles of both graphs show."""
    chosen = frozenset(node_key(unit.node) for unit in layers)
    built = variants.build(chosen)
    slow = profiler(variants.graph, feed, target, seconds=_SECONDS)
    fast = profiler(built, feed, target, seconds=_SECONDS)
    known: dict[str, float] = {}
    for unit in layers:
        names = _names(unit)
        if any(name in slow for name in names) and any(name in fast for name in names):
            known[node_key(unit.node)] = sum(
                slow.get(name, 0.0) - fast.get(name, 0.0) for name in names
            )
    scale = _ratio(sum(known.values()), sum(estimated.layers[key] for key in known))
    gains = {key: known.get(key, scale * guess) for key, guess in estimated.layers.items()}
    per_crossing = _ratio(
        *_sums(
            (fast[node.name], _crossing_of(node, estimated))
            for node in built.nodes
            if is_quantizer(node) and node.name in fast
        )
    )
    return IntegerGains(
        gains, {t: per_crossing * seconds for t, seconds in estimated.crossings.items()}, True
    )


def _macs_of(unit: Unit, view: View) -> int:
    """Count the multiply-accumulates of one run of a layer in a body, which `cost` leaves out."""
    if not (unit.is_linear or unit.is_product):
        return 0
    x, weight = (view.shape(t) or () for t in unit.node.inputs[:2])
    sums = weight[1:] if unit.node.op == "Conv" else x[-1:]
    return _size(unit.node.outputs[0], view) * math.prod(d for d in sums if isinstance(d, int))


def _crossing_of(node: gs.Node, estimated: IntegerGains) -> float:
    return estimated.crossings.get(node.inputs[0].name, 0.0)


def _names(unit: Unit) -> set[str]:
    """Return what a runtime may call the unit: after its nodes, or after what they make."""
    nodes = [unit.node] if unit.bounded is None else [unit.node, unit.bounded]
    return {name for node in nodes for name in (node.name, *(t.name for t in node.outputs)) if name}


def _sums(pairs: Iterable[tuple[float, float]]) -> tuple[float, float]:
    found = [pair for pair in pairs if pair[1] > 0]
    return sum(a for a, _ in found), sum(b for _, b in found)


def _ratio(a: float, b: float) -> float:
    return a / b if a > 0 and b > 0 else 1.0


def _size(tensor: gs.Tensor, view: View) -> int:
    """Return the number of values; sizes that are not known count as 1."""
    return math.prod(dim for dim in view.shape(tensor) or () if isinstance(dim, int))
