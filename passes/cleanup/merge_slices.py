"""Take a slice of a slice at once.

x[a][b] = x[c]    with c the places b of the places a, axis by axis
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.core.variables import is_standard
from ...ir.graph.edit import Edit
from ...ir.graph.types import Dim
from ...ir.graph.view import View
from ...ir.ops.build import Bounds, build_slice
from ...ir.ops.opsets import position_of
from ...ir.ops.slices import FARTHEST, TO_THE_END, read_slice
from ..engine.rewrite import Rewrite, RewritePass


@dataclass(frozen=True)
class MergeSlices(RewritePass):
    """Make two Slices in a row one, where nothing else reads what is between them.

    An axis that both cut must have a known size, or both must count from its begin, step by step.
    """

    name: ClassVar[str] = "merge-slices"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_MergeSlices(),)


@dataclass(frozen=True)
class _SliceOfSlice:
    first: gs.Node
    second: gs.Node
    bounds: Bounds


class _MergeSlices(Rewrite[_SliceOfSlice]):
    ops = frozenset({"Slice"})

    def match(self, node: gs.Node, view: View) -> _SliceOfSlice | None:
        first = view.producer(node.inputs[0])
        if first is None or first.op != "Slice" or not is_standard(first):
            return None
        need(view.read_only_by(first.outputs[0], node), "the Slice before it has other readers")
        inner, outer = (
            need(read_slice(each, view), "bounds or sizes are not known") for each in (first, node)
        )
        shape = need(view.shape(first.inputs[0]), "the rank of its input is unknown")
        bounds = {
            axis: _merged(inner.get(axis), outer.get(axis), shape[axis])
            for axis in sorted(inner.keys() | outer.keys())
        }
        plain = all(step == 1 for _, _, step in bounds.values())
        has_steps = position_of("Slice", "steps", view.opset) is not None
        need(plain or has_steps, "Slice has no steps before opset 10")
        return _SliceOfSlice(first, node, bounds)

    def rewrite(self, site: _SliceOfSlice, edit: Edit) -> None:
        edit.remove(site.second)
        edit.remove(site.first)
        source, result = site.first.inputs[0], site.second.outputs[0]
        build_slice(edit, source, result, site.bounds, at=site.second)


def _merged(inner: slice | None, outer: slice | None, size: Dim) -> tuple[int, int, int]:
    """Return start, end and step, as ONNX has them, of one axis that is cut once or twice."""
    if inner is None or outer is None:
        part = inner or outer
        assert part is not None
        return part.start, -FARTHEST - 1 if part.stop is None else part.stop, part.step
    if isinstance(size, int):
        return _of_places(range(size)[inner][outer])
    values = (inner.start, outer.start, inner.stop, outer.stop)
    counts_up = inner.step == outer.step == 1 and all(v is not None and v >= 0 for v in values)
    need(counts_up, "the size of an axis that both cut is unknown")
    end = outer.stop if outer.stop >= FARTHEST else inner.start + outer.stop
    # Beyond the axis it takes nothing, however far beyond.
    return min(inner.start + outer.start, TO_THE_END), min(inner.stop, end), 1


def _of_places(places: range) -> tuple[int, int, int]:
    """Return the bounds that take `places` of an axis."""
    if not places:
        return 0, 0, 1
    if len(places) == 1:
        return places[0], places[0] + 1, 1
    return places.start, places.stop if places.stop >= 0 else -FARTHEST - 1, places.step
