"""The one operator that gives a tensor another shape: nothing, a Flatten, or a constant Reshape."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.build import build_reshape
from ...analysis.sizes.shape_arithmetic import ShapeArithmetic
from ...analysis.sizes.symbolic import ZERO, SymbolicSize, product, same_sizes

Array = np.ndarray[Any, Any]
Sizes = Sequence[SymbolicSize | None]


@dataclass(frozen=True)
class ReshapeForm:
    """How to get the result from a tensor: a Flatten, a Reshape to `target`, or nothing."""

    op: str | None
    target: tuple[int, ...] = ()


def form_of(
    arithmetic: ShapeArithmetic,
    source: gs.Tensor,
    result: Sizes,
    view: View,
    asked: Array | None = None,
    refused: AbstractSet[SymbolicSize] = frozenset(),
) -> ReshapeForm | None:
    """Return how to give `source` the sizes `result`, the constant target `asked` being it.

    `refused`: the sizes that may not be zero as it is.
    """
    sizes = arithmetic.shape(source, view)
    if sizes is None:
        return None
    if None not in sizes and same_sizes(sizes, result):
        return ReshapeForm(None)
    if _is_flat(sizes, result):
        return ReshapeForm("Flatten")
    target = _target(sizes, result, asked)
    if target is None or _may_fail(target, sizes, refused):
        return None
    return ReshapeForm("Reshape", target)


def write_form(
    form: ReshapeForm, source: gs.Tensor, result: gs.Tensor, at: gs.Node, edit: Edit
) -> None:
    """Give `result`, whose producer `at` was removed, from `source`."""
    if form.op is None and id(result) not in edit.uses.pinned:
        edit.replace(result, source)
    elif form.op is None:
        edit.node("Identity", [source], [result], at=at)
    elif form.op == "Flatten":
        edit.node("Flatten", [source], [result], {"axis": 1}, at=at)
    else:
        build_reshape(edit, source, result, form.target, at=at)


def _is_flat(sizes: Sizes, result: Sizes) -> bool:
    """Say whether `result` is [first, all others joined] of three or more `sizes`."""
    if len(result) != 2 or len(sizes) < 3:
        return False
    rest = None if None in sizes[1:] else product(size for size in sizes[1:] if size is not None)
    kept = sizes[0] is not None and result[0] == sizes[0] and sizes[0] != ZERO
    joined = rest is not None and result[1] == rest and rest != ZERO
    # Where one is certain the other is what is left.
    return (kept and (joined or result[1] is None)) or (joined and result[0] is None)


def _target(sizes: Sizes, result: Sizes, asked: Array | None) -> tuple[int, ...] | None:
    """Return the target of a Reshape from `sizes` to `result`; what `asked` names stays.

    None where there is none: 0 copies a size, and -1 does not follow beside a size of zero.
    """
    target: list[int] = []
    for place, size in enumerate(result):
        number = None if size is None else size.number
        copied = size is not None and place < len(sizes) and size == sizes[place]
        given = None if asked is None else int(asked[place])
        if given is not None and given > 0:
            target.append(given)
        elif number and not (copied and given == 0):
            target.append(number)
        elif copied:
            target.append(0)
        elif number == 0:
            return None
        else:
            target.append(-1)
    return tuple(target) if target.count(-1) < 2 else None


def _may_fail(target: Sequence[int], sizes: Sizes, refused: AbstractSet[SymbolicSize]) -> bool:
    """Say whether `target` is refused where a size is zero that was taken before.

    Beside a size of zero no other follows from how many elements there are.
    """
    copied = [size for size, kept in zip(sizes, target, strict=False) if kept == 0]
    return -1 in target and any(s is None or (s.low <= 0 and s not in refused) for s in copied)
