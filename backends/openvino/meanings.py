"""Operators that OpenVINO computes otherwise than ONNX says, by what a node asks of them.

A node that is right for some attributes and sizes is declined for the others alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_graphsurgeon as gs

from ...ir.core.decline import DeclinedError, need
from ...ir.core.errors import BackendError
from ...ir.core.variables import is_standard, label
from ...ir.graph.types import Types
from ...ir.graph.uses import Uses, scopes
from ...ir.graph.view import View
from ...ir.ops.axes.named import softmax_axes
from ...ir.ops.parameters import read_parameter
from ...ir.ops.resizing import ratio_policy, resize_positions, resized_shape
from ...ir.ops.traits import attribute
from ...ir.ops.traits.groups import POOLS, RECURRENT, SOFTMAXES
from ...ir.ops.windows.attributes import WindowAttributes, pool_window

Decline = Callable[[gs.Node, View], None]


def refuse_other_meanings(graph: gs.Graph, types: Types) -> None:
    """Raise BackendError naming the first node that OpenVINO would compute otherwise."""
    for scope in scopes(graph):
        view = View(scope, Uses(scope), types.of)
        for node in filter(is_standard, scope.nodes):
            decline = _DECLINES.get(node.op)
            if decline is None:
                continue
            try:
                decline(node, view)
            except DeclinedError as declined:
                raise BackendError(
                    f"OpenVINO computes node {label(node)} otherwise: {declined}; lower it to "
                    "'onnxruntime' or 'tvm'"
                ) from declined


def joins_axes(graph: gs.Graph, types: Types) -> bool:
    """Say whether a Softmax or the like of `graph` may normalize several axes together.

    Up to opset 12 it does; OpenVINO takes the first of them alone.
    """
    for scope in scopes(graph):
        view = View(scope, Uses(scope), types.of)
        for node in filter(is_standard, scope.nodes):
            if node.op in SOFTMAXES and not _is_of_one_axis(node, view):
                return True
    return False


def _is_of_one_axis(node: gs.Node, view: View) -> bool:
    rank = view.rank(node.inputs[0])
    axes = None if rank is None else softmax_axes(node, rank, view.opset)
    return axes is not None and len(axes) == 1


def _softmax(node: gs.Node, view: View) -> None:
    need(_is_of_one_axis(node, view), "it normalizes over several axes together")


def _pool(node: gs.Node, view: View) -> None:
    if not node.attrs.get("ceil_mode", 0):
        return
    window = pool_window(node)
    sizes: list[Any] = list((view.shape(node.inputs[0]) or ())[2:]) or [None] * window.rank
    need(not any(map(_starts_behind, *_axes(window, sizes))), "its last window starts in the pads")
    counts = window.counts_pads and window.is_padded
    if node.op == "LpPool" or counts or window.auto_pad == "VALID":
        beyond = any(map(_reaches_beyond, *_axes(window, sizes)))
        need(not beyond, "its last window reaches beyond its pads")


def _axes(window: WindowAttributes, sizes: list[Any]) -> tuple[Any, ...]:
    """Return sizes, pads before and after, reaches and strides, one entry an axis."""
    known = all(isinstance(size, int) for size in sizes)
    begins, ends = window.pads(sizes) if known else (window.begins, window.ends)
    return sizes, begins, ends, window.reaches, window.strides


def _starts_behind(size: Any, begin: int, end: int, reach: int, stride: int) -> bool:
    """Say whether rounding up gives a window that starts in the pad at the end."""
    if not isinstance(size, int):
        return end + stride > reach
    return -(-(size + begin + end - reach) // stride) * stride >= size + begin


def _reaches_beyond(size: Any, begin: int, end: int, reach: int, stride: int) -> bool:
    if not isinstance(size, int):
        return stride > 1
    return (size + begin + end - reach) % stride > 0


def _lrn(node: gs.Node, view: View) -> None:
    """Its kernel has the bias as an integer."""
    bias = float(attribute(node, "bias", view.opset))
    need(bias.is_integer(), f"its bias {bias:g} becomes {int(bias)}")


def _resize(node: gs.Node, view: View) -> None:
    mode = str(attribute(node, "mode", view.opset))
    need(ratio_policy(node) == "stretch", "its sizes keep the ratio of the axes")
    crops = node.attrs.get("exclude_outside", 0) and mode == "cubic"
    need(not crops, "its weights outside of the image are excluded")
    need(not node.attrs.get("antialias", 0) or _grows(node, view), "it is antialiased")
    where, rounds = resize_positions(node, view)
    exact = mode != "nearest" or not (
        (where == "align_corners" and not rounds.startswith("round"))
        or (where == "asymmetric" and rounds == "round_prefer_ceil")
    )
    need(exact, "which element is nearest is a matter of rounding")


def _grows(node: gs.Node, view: View) -> bool:
    before, after = view.shape(node.inputs[0]), resized_shape(node, view)
    if before is None or after is None:
        return False
    pairs = list(zip(before, after, strict=True))
    return all(a == b or (isinstance(a, int) and isinstance(b, int) and b > a) for a, b in pairs)


def _attention(node: gs.Node, view: View) -> None:
    windows = (attribute(node, f"{side}_window_size", view.opset) for side in ("left", "right"))
    need(all(size in (None, -1) for size in windows), "its window is local")
    past = len(node.inputs) > 4 and not node.inputs[4].is_empty()
    masked = len(node.inputs) > 3 and not node.inputs[3].is_empty()
    causal = bool(attribute(node, "is_causal", view.opset))
    need(not (causal and past and masked), "it is causal, with a mask and with what is past")


def _recurrent(node: gs.Node, view: View) -> None:
    need(not node.attrs.get("layout", 0), "its layout has batches first")
    peeps = node.op == "LSTM" and len(node.inputs) > 7 and not node.inputs[7].is_empty()
    need(not peeps, "it has peepholes")


def _bit_shift(node: gs.Node, view: View) -> None:
    dtype = view.dtype(node.inputs[0])
    need(dtype is not None and dtype.kind == "u", "it shifts signed integers")


def _space_to_depth(node: gs.Node, view: View) -> None:
    mode = attribute(node, "mode", view.opset)
    need(mode in (None, "DCR"), "its mode is CRD")


def _roi_align(node: gs.Node, view: View) -> None:
    mode = attribute(node, "mode", view.opset)
    need(mode != "max", "it takes the largest of weighted samples")


def _tile(node: gs.Node, view: View) -> None:
    """Where several axes are repeated by a number that is computed, it reads foreign memory."""
    if read_parameter(node, "repeats", view).values is not None:
        return
    before, after = view.shape(node.inputs[0]), view.shape(node.outputs[0])
    told = "several axes are repeated by numbers that are computed"
    need(before is not None and after is not None, told)
    assert before is not None
    assert after is not None
    need(sum(a != b or a is None for a, b in zip(before, after, strict=True)) < 2, told)


def _dft(node: gs.Node, view: View) -> None:
    need(False, "its axes and sizes differ")


_DECLINES: dict[str, Decline] = {
    **dict.fromkeys(SOFTMAXES, _softmax),
    **dict.fromkeys(POOLS, _pool),
    **dict.fromkeys(RECURRENT, _recurrent),
    "Resize": _resize,
    "LRN": _lrn,
    "Attention": _attention,
    "BitShift": _bit_shift,
    "SpaceToDepth": _space_to_depth,
    "RoiAlign": _roi_align,
    "Tile": _tile,
    "DFT": _dft,
}
