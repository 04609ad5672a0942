"""How far constants are apart."""

from __future__ import annotations

import math
from collections.abc import Container

import numpy as np

from ...ir.graph.view import View
from ...ir.ops.quantization.nodes import is_dequantizer
from ...ir.ops.quantization.weights import weight_values
from .model_diff import WeightChange
from .wiring import Array, HeldConstant, Wiring

_CHUNK = 1 << 16  # elements that are compared at once, in float64: what the caches hold


def weight_changes(
    a: Wiring, place_a: int, b: Wiring, place_b: int, views: tuple[View, View]
) -> tuple[WeightChange, ...]:
    """Return what differs between the constants that two nodes read, by input position.

    Where one reads a constant and the other integers through a DequantizeLinear, what these stand
    for is compared.
    """
    before, after = dict(a.constants(place_a)), dict(b.constants(place_b))
    stored_before, stored_after = (
        _dequantized(wiring, place, beside, view)
        for wiring, place, beside, view in (
            (a, place_a, after, views[0]),
            (b, place_b, before, views[1]),
        )
    )
    old, new = before | stored_before, after | stored_after
    return tuple(
        _change(
            position,
            old.get(position),
            new.get(position),
            dequantized=(position in stored_before, position in stored_after),
        )
        for position in sorted(old.keys() | new.keys())
        if position in stored_before.keys() | stored_after.keys()
        or _digest(old.get(position)) != _digest(new.get(position))
    )


def _dequantized(
    wiring: Wiring, index: int, beside: Container[int], view: View
) -> dict[int, HeldConstant]:
    """Return what node `index` reads of dequantized constants where the other has a constant."""
    found = {}
    for position, source in enumerate(wiring.sources[index]):
        if source.kind != "node" or position not in beside:
            continue
        node = wiring.nodes[source.index]
        values = weight_values(node.outputs[0], view) if is_dequantizer(node) else None
        if values is not None:
            found[position] = HeldConstant(node.outputs[0].name, values)
    return found


def _digest(held: HeldConstant | None) -> bytes | None:
    return None if held is None else held.digest


def _change(
    position: int,
    before: HeldConstant | None,
    after: HeldConstant | None,
    *,
    dequantized: tuple[bool, bool],
) -> WeightChange:
    distance = None
    if before is not None and after is not None:
        distance = _distance(before.values, after.values)
    written = [
        None if held is None else f"{held.type}{list(held.shape)}{' dequantized' * through}"
        for held, through in zip((before, after), dequantized, strict=True)
    ]
    return WeightChange(
        input=position,
        before=written[0],
        after=written[1],
        max_abs=None if distance is None else distance[0],
        relative=None if distance is None else distance[1],
        not_finite=0 if distance is None else distance[2],
    )


def _distance(before: Array | None, after: Array | None) -> tuple[float, float, int] | None:
    """Return the largest absolute and the relative distance; None where there is none to tell.

    Values of which one or both are not finite, and which are not the same, are counted instead.
    """
    if before is None or after is None or before.shape != after.shape:
        return None
    if any(each.dtype.kind in "OUSc" for each in (before, after)):
        return None
    flat_before, flat_after = before.reshape(-1), after.reshape(-1)
    largest = squares = norm = 0.0
    strange = 0
    with np.errstate(invalid="ignore", over="ignore"):  # of numbers that are not finite
        for start in range(0, flat_before.size, _CHUNK):
            one = flat_before[start : start + _CHUNK].astype(np.float64)
            two = flat_after[start : start + _CHUNK].astype(np.float64)
            gap = np.where((one == two) | (np.isnan(one) & np.isnan(two)), 0.0, two - one)
            apart = ~np.isfinite(gap)
            strange += int(apart.sum())
            gap[apart] = 0.0
            largest = max(largest, float(np.abs(gap).max()))
            squares += float(np.square(gap).sum())
            norm += float(np.square(one[np.isfinite(one)]).sum())
    return largest, math.sqrt(squares / norm) if norm else math.inf if squares else 0.0, strange
