"""With which sizes a window is looked at, so that what holds of these holds of others.

Where a graph leaves sizes open, the inputs of a window have sizes of their own: any that fit
together stand for a size of the graph or for none. Along an axis in which all is local, few
positions stand for any number (`locality`); behind strides, as many sizes in turn as there are
remainders. Along any other axis no choice stands for all: those are tried at which what depends on
sizes shows, one by one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.variables import dense_values, is_standard
from ...ops.traits import traits_of
from ..windows import ProofWindow, reads_shape
from .locality import WindowAxes
from .node import Types
from .open_sizes import Look, OpenSize, look_at, merged, open_sizes

# Remainders of all axes together, each of which is looked at.
_MOST_REMAINDERS = 16
# Elements of the inputs with which a size is tried, and numbers of the window beside which.
_MOST_ELEMENTS, _MOST_NUMBERS, _LARGEST = 1 << 18, 8, 1 << 12


@dataclass(frozen=True)
class Covering:
    """`needed`: where both sides have to agree. `beside`: where they have to if it is a size of the
    window before at all. `is_whole`: whether these stand for all sizes.
    """

    needed: Sequence[Look]
    beside: Sequence[Look]
    is_whole: bool


def covering(
    window: ProofWindow,
    types: tuple[Types, Types],
    opened: tuple[Types, Types],
    opsets: tuple[int, int],
) -> Covering | None:
    """Return with which sizes to look at a window; None where its inputs' hang together.

    `types`: at one choice of sizes; `opened`: with names for those that are open.
    """
    axes = WindowAxes(window, types, opened, opsets)
    groups = merged(
        (each, {axes.classes.find(member)[0] for member in each.members})
        for each in open_sizes(window, axes.own, opened)
    )
    ratios = [{axes.classes.find(member)[1] for member in group.members} for group in groups]
    if any(len(each) > 1 or len(group.own) > 1 for each, group in zip(ratios, groups, strict=True)):
        return None
    local = [axes.is_known and group.roots.isdisjoint(axes.classes.kept) for group in groups]
    base = [
        _least(axes, group) if each else _own(group)
        for group, each in zip(groups, local, strict=True)
    ]
    turns = [_turns(axes, group) if each else 1 for group, each in zip(groups, local, strict=True)]
    counted = math.prod(turns) <= _MOST_REMAINDERS
    turned = itertools.product(*map(range, turns)) if counted else [(0,) * len(turns)]
    needed = [[size + turn for size, turn in zip(base, each, strict=True)] for each in turned]
    known = {
        root for group, each in zip(groups, local, strict=True) if each for root in group.roots
    }
    whole = (
        counted
        and all(local)
        and axes.is_known
        and all(axes.classes.find(axis)[0] in known for axis in axes.open_axes())
        and _sizes_are_sizes(window, opsets)
    )
    given = axes.smaller()
    beside = [
        look_at(groups, sizes, given, opened) for sizes in _beside(window, groups, base, local)
    ]
    most = max(_MOST_ELEMENTS, *(math.prod(shape) for shape in axes.own.values()), 0)
    return Covering(
        [look_at(groups, sizes, given, opened) for sizes in needed],
        [look for look in beside if all(math.prod(s) <= most for s in look.shapes.values())],
        whole,
    )


def _own(group: OpenSize) -> int:
    return next(iter(group.own))


def _least(axes: WindowAxes, group: OpenSize) -> int:
    """Return the fewest positions that stand for all."""
    found = (axes.classes.find(each) for each in group.members)
    return max(_own(group) - int(axes.times(root) * ratio) for root, ratio in found)


def _turns(axes: WindowAxes, group: OpenSize) -> int:
    """Return how many remainders the size of a group has."""
    found = (axes.classes.find(each) for each in group.members)
    return math.lcm(*(int(axes.unit(root) * ratio) for root, ratio in found))


def _sizes_are_sizes(window: ProofWindow, opsets: tuple[int, int]) -> bool:
    """Say whether what is read of shapes is handed on as it is, and nothing but a size."""
    reading: set[int] = set()
    for side, nodes in enumerate((window.before, window.after)):
        for node in nodes:
            if node.op == "Size":
                return False
            places = {at for at, tensor in enumerate(node.inputs) if id(tensor) in reading}
            if reads_shape(node):
                reading.update(id(tensor) for tensor in node.outputs)
            elif places and not (node.op == "Reshape" and is_standard(node) and 0 not in places):
                traits = traits_of(node, opsets[side])
                if not (traits.moves or node.op == "Cast") or not is_standard(node):
                    return False
                if not places <= set(traits.data_of(len(node.inputs))):
                    return False
                reading.update(id(tensor) for tensor in node.outputs)
    return True


def _beside(
    window: ProofWindow, groups: Sequence[OpenSize], base: Sequence[int], local: Sequence[bool]
) -> Iterator[list[int]]:
    """Yield sizes beside those that stand for others: 1, and such at which something may change."""
    seen = [list(base)]
    batches = [all(axis == 0 for _, axis in group.axes) for group in groups]
    tried = [[1] * len(base), [1 if each else n for n, each in zip(base, batches, strict=True)]]
    numbers = [] if all(local) else _numbers(window)
    for at, each in enumerate(local):
        if not each:
            own = base[at]
            values = [2, 3, own - 1, own + 1, 2 * own + 1, *numbers]
            tried += [[*base[:at], value, *base[at + 1 :]] for value in values if value > 0]
    for sizes in tried:
        if sizes not in seen:
            seen.append(sizes)
            yield sizes


def _numbers(window: ProofWindow) -> list[int]:
    """Return the integers that a window holds, such as bounds of slices, and their neighbours."""
    found: set[int] = set()
    for node in (*window.before, *window.after):
        for tensor in node.inputs:
            values = dense_values(tensor)
            if values is not None and values.dtype.kind in "iu" and values.size <= _MOST_NUMBERS:
                found.update(abs(int(each)) for each in np.ravel(values))
    kept = sorted((n for n in found if 1 < n <= _LARGEST), reverse=True)[:_MOST_NUMBERS]
    return sorted({n + step for n in kept for step in (-1, 0, 1)})
