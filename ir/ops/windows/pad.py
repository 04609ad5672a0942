"""An operator Pad whose pads are constant, read in every spelling that ONNX has had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...core.decline import need
from ...graph.view import View

ValuesOf = Callable[[gs.Tensor], np.ndarray[Any, Any] | None]


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
    """Read a Pad: attributes up to opset 10, inputs from 11 on, some axes only from 18 on.

    `values_of` says what a tensor holds, where more is known than the view's constants. Declines
    another mode than constant, and what is not known here.
    """
    values_of = values_of or view.constant
    mode = node.attrs.get("mode", "constant")
    need(mode == "constant", f"its mode is {mode}")
    if view.opset < 11:
        pads = [int(p) for p in node.attrs.get("pads") or node.attrs.get("paddings") or ()]
        return _split(node, pads, float(node.attrs.get("value", 0.0)))
    values = need(values_of(node.inputs[1]), "its pads are not constant")
    pads = [int(p) for p in values.reshape(-1)]
    fill = 0.0
    if len(node.inputs) > 2 and not node.inputs[2].is_empty():
        constant = need(values_of(node.inputs[2]), "its value is not constant")
        need(constant.dtype.kind != "O", "its value is no number")
        fill = float(np.asarray(constant).reshape(()))
    if len(node.inputs) > 3 and not node.inputs[3].is_empty():
        axes = need(values_of(node.inputs[3]), "its axes are not constant")
        rank = need(view.rank(node.inputs[0]), "the rank of its input is unknown")
        full = [0] * 2 * rank
        for position, axis in enumerate(int(a) % rank for a in axes):
            full[axis] = pads[position]
            full[axis + rank] = pads[position + len(axes)]
        pads = full
    return _split(node, pads, fill)


def _split(node: gs.Node, pads: list[int], value: float) -> Padding:
    half = len(pads) // 2
    return Padding(node, tuple(pads[:half]), tuple(pads[half:]), value)
