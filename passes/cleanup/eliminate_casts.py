"""Leave out the first of two Casts where it keeps every value.

Cast_C(Cast_B(x)) = Cast_C(x)      where B holds every value of the type A of x
Cast_A(Cast_B(x)) = x              likewise

float32 -> float64 -> float32, int32 -> int64 -> int32 and bool -> anything -> bool are exact;
float32 -> float16 -> float32 is not. Sources: ONNX operator Cast, whose integers wrap around and
whose floats round to the nearest, so that only the value of x counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.decline import need
from ...ir.core.variables import is_standard
from ...ir.graph.edit import Edit
from ...ir.graph.view import View
from ..engine.rewrite import Rewrite, RewritePass
from .bypass import Bypass

_OPS = frozenset({"Cast", "CastLike"})
DType = np.dtype[Any]


@dataclass(frozen=True)
class EliminateCasts(RewritePass):
    """Merge a Cast into the one before it where that one loses nothing, and drop pairs that cancel.

    CastLike counts where the type it takes over is known.
    """

    name: ClassVar[str] = "eliminate-casts"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites for pairs that cancel and pairs that merge."""
        return (_Cancel(), _Merge())


class _Cancel(Bypass):
    ops = _OPS

    def returned(self, node: gs.Node, view: View) -> gs.Tensor | None:
        pair = _pair(node, view)
        return None if pair is None or pair.source != pair.last else pair.x


class _Merge(Rewrite[tuple[gs.Node, gs.Tensor]]):
    ops = _OPS

    def match(self, node: gs.Node, view: View) -> tuple[gs.Node, gs.Tensor] | None:
        pair = _pair(node, view)
        if pair is None or pair.source == pair.last:
            return None
        need(
            _same_conversion(pair),
            f"{pair.source} beyond {pair.last} may convert otherwise from {pair.middle}",
        )
        return node, pair.x

    def rewrite(self, site: tuple[gs.Node, gs.Tensor], edit: Edit) -> None:
        node, x = site
        edit.set_input(node, 0, x)


@dataclass(frozen=True)
class _CastPair:
    x: gs.Tensor
    source: DType
    middle: DType
    last: DType


def _same_conversion(pair: _CastPair) -> bool:
    """Say whether only values count: not for floats beyond an integer type, which is undefined."""
    defined = _digits(pair.last)[1] or pair.last.kind == "b" or _holds(pair.last, pair.source)
    return bool(defined) or (pair.source.kind in "iu" and pair.middle.kind in "iu")


def _pair(node: gs.Node, view: View) -> _CastPair | None:
    """Return the two casts that end at `node`, if the first of them keeps every value."""
    first = view.producer(node.inputs[0])
    if first is None or first.op not in _OPS or not is_standard(first):
        return None
    x = first.inputs[0]
    types = view.dtype(x), _target(first, view), _target(node, view)
    source, middle, last = (need(t, "the types that it casts between are unknown") for t in types)
    if source == middle:
        return None  # no cast at all
    if last.kind not in "biuf" and last != _BFLOAT16:
        return None
    need(_holds(middle, source), f"{middle} does not hold every {source}")
    return _CastPair(x, source, middle, last)


def _target(node: gs.Node, view: View) -> DType | None:
    if node.op == "CastLike":
        return view.dtype(node.inputs[1])
    to = node.attrs["to"]
    return dtypes.numpy_dtype(to) if isinstance(to, int) else None  # a name before opset 6


_BFLOAT16: DType = np.dtype(ml_dtypes.bfloat16)


def _digits(dtype: DType) -> tuple[int, int]:
    """Return the binary digits of a value and the bits of its exponent, 0 for integers.

    (0, 0) for types that nothing is known of.
    """
    if dtype.kind == "b":
        return 1, 0
    if dtype.kind in "iu":
        return dtype.itemsize * 8 - (dtype.kind == "i"), 0
    if dtype == _BFLOAT16:
        return 8, 8
    return {"float16": (11, 5), "float32": (24, 8), "float64": (53, 11)}.get(dtype.name, (0, 0))


def _holds(wide: DType, narrow: DType) -> bool:
    """Say whether every value of `narrow` is one of `wide`, with NaN and infinities."""
    (digits, exponent), (needed, range_) = _digits(wide), _digits(narrow)
    if not digits or not needed:
        return False
    if not range_:  # from bool and integers: (2^16 lies beyond float16, which has 11 digits)
        signed = narrow.kind == "i" and wide.kind in "bu"
        return needed <= digits and not signed
    return needed <= digits and range_ <= exponent
