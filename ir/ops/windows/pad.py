"""An operator Pad whose pads are constant, read in every spelling that ONNX has had."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...core.decline import need
from ...graph.view import View
from ..axes.named import normal_axes
from ..parameters import ValuesOf, need_parameter


@dataclass(frozen=True)
class Padding:
    """A Pad with a constant value: elements added before and after, one entry a dimension."""

    node: gs.Node
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    value: float

    @property
    def spatial(self) -> tuple[int, ...]:
        """Pads of the spatial axes in the order of a Conv's attribute: all begins, then all ends.

        None of batch and channels: see `is_spatial`.
        """
        return (*self.begins[2:], *self.ends[2:])

    @property
    def is_spatial(self) -> bool:
        """Say whether batch and channels are left as they are."""
        return not any((*self.begins[:2], *self.ends[:2]))

    @property
    def crops(self) -> bool:
        """Say whether any pad is negative and takes elements away."""
        return min((*self.begins, *self.ends), default=0) < 0


def read_padding(node: gs.Node, view: View, values_of: ValuesOf | None = None) -> Padding:
    """Read a Pad in every opset's spelling, of all axes or of some.

    `values_of` says what a tensor holds, where more is known than the view's constants. Declines
    another mode than constant, and what is not known here.
    """
    mode = node.attrs.get("mode", "constant")
    need(mode == "constant", f"its mode is {mode}")
    given, value, named = (
        need_parameter(node, name, view, values_of) for name in ("pads", "value", "axes")
    )
    pads = [] if given is None else [int(p) for p in given.reshape(-1)]
    need(value is None or value.dtype.kind != "O", "its value is no number")
    fill = 0.0 if value is None else float(np.asarray(value).reshape(()))
    if named is not None:
        rank = need(view.rank(node.inputs[0]), "the rank of its input is unknown")
        axes = need(normal_axes(named, rank), "its axes lie outside")
        full = [0] * 2 * rank
        for position, axis in enumerate(axes):
            full[axis] = pads[position]
            full[axis + rank] = pads[position + len(axes)]
        pads = full
    return _split(node, pads, fill)


def _split(node: gs.Node, pads: list[int], value: float) -> Padding:
    half = len(pads) // 2
    return Padding(node, tuple(pads[:half]), tuple(pads[half:]), value)
