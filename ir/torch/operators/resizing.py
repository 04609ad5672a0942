"""Resize, Upsample and GridSample."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx, nn
from torch.nn import functional

from ...ops.parameters import input_of
from ...ops.traits import default
from ..call import Handler, OperatorCall, Result
from ..functions import resize

_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


def _text(call: OperatorCall, name: str, otherwise: str) -> str:
    """Return an attribute or its default; `otherwise` where the opset does not have it."""
    value = call.attribute(name, default(call.op, name, call.opset))
    text = value.decode() if isinstance(value, bytes) else value
    return otherwise if text is None else str(text)


def _resize(call: OperatorCall) -> Result:
    scales, sizes = (_given(call, input_of("Resize", n, call.opset)) for n in ("scales", "sizes"))
    # The first Resize had none of these attributes, and coordinates as Upsample has them.
    coordinates = _text(call, "coordinate_transformation_mode", "asymmetric")
    nearest = _text(call, "nearest_mode", "floor")
    if coordinates == "tf_crop_and_resize":
        call.refuse("it crops (tf_crop_and_resize)", "use Slice and a plain Resize")
    if call.attribute("antialias", 0):
        call.refuse("it is antialiased", "export without antialias")
    if _text(call, "keep_aspect_ratio_policy", "stretch") != "stretch":
        call.refuse("it keeps the aspect ratio", "give it the sizes that result")
    return _emit(call, scales, sizes, coordinates, nearest)


def _upsample(call: OperatorCall) -> Result:
    scales = call.optional_numbers(1, "scales")
    return _emit(call, scales, None, "asymmetric", "floor")


def _given(call: OperatorCall, position: int | None) -> Any:
    if position is None:
        return None
    held = call.static(position)
    if not call.has(position) or (held is not None and not held.size):
        return None
    return call.numbers(position)


def _emit(call: OperatorCall, scales: Any, sizes: Any, coordinates: str, nearest: str) -> fx.Node:
    mode, x = _text(call, "mode", "nearest"), call.tensor(0)
    axes = call.attribute("axes")
    factor = None if axes is not None else _whole_factor(scales)
    if factor is not None and call.rank(0) == len(factor) + 2:
        if mode == "nearest" and (coordinates, nearest) in _REPEATS:
            return call.module(nn.Upsample(scale_factor=factor, mode="nearest"), x)
        if mode == "linear" and coordinates in ("half_pixel", "pytorch_half_pixel"):
            linear = _LINEAR[len(factor) + 2]
            return call.module(
                nn.Upsample(scale_factor=factor, mode=linear, align_corners=False), x
            )
    return call.function(
        resize.resize,
        x,
        scales,
        sizes,
        mode=mode,
        coordinates=coordinates,
        nearest=nearest,
        cubic=call.attribute("cubic_coeff_a", -0.75),
        exclude_outside=bool(call.attribute("exclude_outside", 0)),
        axes=None if axes is None else tuple(axes),
    )


# With whole factors these repeat each element.
_REPEATS = frozenset(
    {
        ("asymmetric", "floor"),
        ("half_pixel", "round_prefer_floor"),
        ("half_pixel", "round_prefer_ceil"),
    }
)


def _whole_factor(scales: Any) -> tuple[float, ...] | None:
    """Return the factors of the spatial axes where all are whole and known."""
    if not isinstance(scales, tuple) or not 3 <= len(scales) <= 5 or set(scales[:2]) != {1}:
        return None
    factor = tuple(float(s) for s in scales[2:])
    return factor if all(s >= 1 and s == np.rint(s) for s in factor) else None


def _grid_sample(call: OperatorCall) -> fx.Node:
    mode = _text(call, "mode", "linear")
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)  # their names from opset 20
    rank = call.rank(0)
    if rank is not None and not 4 <= rank <= (4 if mode == "bicubic" else 5):
        call.refuse(f"it has {rank - 2} spatial dimensions", f"PyTorch has no {mode} of so many")
    return call.function(
        functional.grid_sample,
        call.tensor(0),
        call.tensor(1),
        mode,
        _text(call, "padding_mode", "zeros"),
        bool(call.attribute("align_corners", 0)),
    )


OPERATORS: dict[str, Handler] = {
    "GridSample": _grid_sample,
    "Resize": _resize,
    "Upsample": _upsample,
}
