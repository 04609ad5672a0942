"""Scales and shifts before and behind operators that move elements, as one behind them.

    s2 * R(s1 * x + t1) + t2 = (s2 s1') * R(x) + (s2 t1' + t2)     R: Reshape, Slice, Gather, ...

where s1' and t1' are s1 and t1 at the place that an element comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.linear.affine import (
    ELEMENTWISE_OPS,
    Affine,
    Composition,
    need_zeros_kept,
    try_affine,
)
from ....ir.ops.linear.storing import need_kept, stored
from ....ir.ops.traits.groups import LAYERS
from ...engine.rewrite import Rewrite
from ..write_maps import write_maps
from .trace import Array, behind_step, steps_before

_LONGEST = 12


@dataclass(frozen=True, kw_only=True)
class JoinedMaps:
    """Maps before and behind movement, and the fewer operators that replace them all."""

    before: tuple[Affine, ...]
    steps: tuple[gs.Node, ...]  # what moves, the first first
    behind: tuple[Affine, ...]
    maps: tuple[tuple[str, Array], ...]
    type: TensorType | None


class JoinOverMovement(Rewrite[JoinedMaps]):
    """Join the maps on both sides of what moves elements, where that leaves fewer."""

    ops = ELEMENTWISE_OPS

    def match(self, node: gs.Node, view: View) -> JoinedMaps | None:
        """Return the maps before and behind the movement that `node` reads, and what they are."""
        first = try_affine(node, view)
        steps = [] if first is None else steps_before(first.source, node, view)
        before = _above(steps[0], view) if steps else []
        if first is None or not before:
            return None
        behind = _below(first, view)
        kind = need(view.type(behind[-1].result), "the type of its result is not known")
        need(
            all(view.same_shape(each.source, each.result) for each in (*before, *behind)),
            "its constant widens what it is applied to",
        )
        total = _composed(before, steps, behind, view)
        maps = _maps(total)
        if len(maps) >= len(before) + len(behind):
            return None
        need_zeros_kept([*before, *behind], view)
        total.need_conditioned(kind.dtype)
        total.need_movable(kind.dtype)
        reason = "the joined constants are not finite"
        need_kept(total.scale, kind.dtype, what=reason)
        need_kept(total.shift, kind.dtype, np.abs(total.scale), reason)
        need(maps or not view.is_output(behind[-1].result), "it joins movement to a graph output")
        return JoinedMaps(
            before=tuple(before),
            steps=tuple(steps),
            behind=tuple(behind),
            maps=tuple((op, stored(values, kind.dtype)) for op, values in maps),
            type=kind,
        )

    def rewrite(self, site: JoinedMaps, edit: Edit) -> None:
        """Let what moves read what the first map read, and map what it gives."""
        source = site.behind[0].source
        for affine in reversed(site.behind):
            edit.remove(affine.node)
        edit.set_input(site.steps[0], 0, site.before[0].source)
        for affine in reversed(site.before):
            edit.remove(affine.node)
        maps = [(op, (values,)) for op, values in site.maps]
        write_maps(edit, source, maps, site.behind[-1], site.type)


def _above(step: gs.Node, view: View) -> list[Affine]:
    """Return the maps that give what `step` alone reads, each the sole reader of the one before.

    What a layer gives is mapped by the layer: its bias stays with it.
    """
    found: list[Affine] = []
    value, reader = step.inputs[0], step
    while len(found) < _LONGEST:
        affine = try_affine(view.producer(value), view)
        if affine is None or affine.is_batchnorm or not view.read_only_by(value, reader):
            break
        below = view.producer(affine.source)
        if below is not None and below.op in LAYERS and is_standard(below):
            break
        found.insert(0, affine)
        value, reader = affine.source, affine.node
    return found


def _below(first: Affine, view: View) -> list[Affine]:
    found = [first]
    while len(found) < _LONGEST:
        affine = try_affine(view.only_reader(found[-1].result), view)
        if affine is None or affine.is_batchnorm:
            break
        found.append(affine)
    return found


def _composed(
    before: Sequence[Affine], steps: Sequence[gs.Node], behind: Sequence[Affine], view: View
) -> Composition:
    """Return the map of all, behind the movement; declines where it takes larger constants."""
    pairs = [(_moved(a.scale, steps, view), _moved(a.shift, steps, view)) for a in before]
    pairs += [(a.scale, a.shift) for a in behind]
    total = Composition.of(np.array(0.0))
    largest = max(max(scale.size, shift.size) for scale, shift in pairs)
    for scale, shift in pairs:
        total = total.then(scale, shift, None)
        need(total.shift.size <= largest, "joined, its constants are larger than apart")
    return total


def _moved(part: Array, steps: Sequence[gs.Node], view: View) -> Array:
    """Return the constant that gives each element behind `steps` what `part` gave it before."""
    if part.size == 1:
        return part.reshape(())
    rank = need(view.rank(steps[0].inputs[0]), "the rank of what moves is not known")
    need(part.ndim <= rank, "its constant has more axes than what it is applied to")
    places = np.arange(part.size).reshape((1,) * (rank - part.ndim) + part.shape)
    for step in steps:
        places = behind_step(step, step.outputs[0], places, view)
    return np.asarray(part.reshape(-1)[places])


def _maps(total: Composition) -> list[tuple[str, Array]]:
    maps: list[tuple[str, Any]] = []
    if (total.scale != 1).any():
        maps.append(("Mul", total.scale))
    if total.shift.any():
        maps.append(("Add", total.shift))
    return maps
