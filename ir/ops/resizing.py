"""The sizes that a Resize or an Upsample gives, in every opset's spelling.

    size = floor(size of x * scale), in float32                                by scales
    size = as asked, or round(size of x * the least or largest ratio)          by sizes

The first is what runtimes compute; in float64 the product of 6 and 7 / 3 stays just below 14.
Source: ONNX operators Resize and Upsample, ONNX Runtime's `upsamplebase.h`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ..graph.types import Dim, Shape
from ..graph.view import View
from .axes.named import normal_axes
from .opsets import has_attribute
from .parameters import ValuesOf, read_parameter
from .traits import attribute

_POSITIONS = (("coordinate_transformation_mode", "asymmetric"), ("nearest_mode", "floor"))
_CROPS = "tf_crop_and_resize"
_STRETCH = "stretch"


def resized_shape(node: gs.Node, view: View, values_of: ValuesOf | None = None) -> Shape | None:
    """Return the shape of the result, None where neither scales nor sizes are constant.

    For `values_of` see `read_parameter`.
    """
    shape = view.shape(node.inputs[0])
    if shape is None:
        return None
    named = list(node.attrs.get("axes") or range(len(shape)))
    axes = normal_axes(named, len(shape))
    scales, sizes = (read_parameter(node, name, view, values_of) for name in ("scales", "sizes"))
    by_sizes = sizes.given and (sizes.values is None or sizes.values.size > 0)
    given = sizes.values if by_sizes else scales.values
    if given is None or axes is None or given.size != len(axes):
        return None
    crops = node.attrs.get("coordinate_transformation_mode") == _CROPS
    found: list[Dim] = list(shape)
    if not by_sizes:
        for axis, scale in zip(axes, given.reshape(-1), strict=True):
            found[axis] = None if crops else scaled(shape[axis], scale)
        return tuple(found)
    policy = ratio_policy(node)
    if policy == _STRETCH:
        for axis, asked in zip(axes, given.reshape(-1), strict=True):
            found[axis] = int(asked)
        return tuple(found)
    told = not crops and are_told(named, len(shape))
    ratio = _ratio([shape[axis] for axis in axes], given, policy) if told else None
    for axis in axes:
        found[axis] = None if ratio is None else _rounded(shape[axis], ratio)
    return tuple(found)


def ratio_policy(node: gs.Node) -> str:
    """Return how the sizes that a Resize is given are taken: `stretch` where just as given."""
    return str(node.attrs.get("keep_aspect_ratio_policy", _STRETCH))


def resize_positions(node: gs.Node, view: View) -> tuple[str, str]:
    """Return `coordinate_transformation_mode` and `nearest_mode` of a Resize or an Upsample.

    Before the attributes came, in opset 11, positions were asymmetric and rounded down.
    """
    found = [
        attribute(node, name, view.opset) if has_attribute(node.op, name, view.opset) else older
        for name, older in _POSITIONS
    ]
    return str(found[0]), str(found[1])


def are_told(axes: Sequence[int], rank: int) -> bool:
    """Say whether the result of a Resize that keeps the ratio of these `axes` is known.

    Of axes in another order, or counted from the end, ONNX Runtime confuses the ratios.
    """
    return list(axes) == sorted(axis for axis in axes if 0 <= axis < rank)


def scaled(size: Dim, scale: float) -> Dim:
    """Return the size of an axis of `size` scaled by `scale`, None where that is not known."""
    if scale == 1:
        return size
    return int(np.float32(size) * np.float32(scale)) if isinstance(size, int) else None


def _ratio(sizes: Sequence[Dim], asked: np.ndarray, policy: str) -> np.float32 | None:
    known = [size for size in sizes if isinstance(size, int) and size]
    if len(known) < len(sizes):
        return None
    ratios = asked.astype(np.float32).reshape(-1) / np.array(known, np.float32)
    return np.float32(ratios.min() if policy == "not_larger" else ratios.max())


def _rounded(size: Dim, ratio: np.float32) -> Dim:
    half = np.float32(0.5)
    return int(np.floor(ratio * np.float32(size) + half)) if isinstance(size, int) else None
