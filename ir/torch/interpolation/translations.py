"""Interpolation of PyTorch, in ONNX, where PyTorch's exporter writes other sizes or pixels.

    after    = floor(before * factor) in doubles       Resize: in float32, 116 of 90 * 1.3, not 117
    position = (i + 1/2) / factor - 1/2                antialias: before / after for 1 / factor
    pixel    = floor(i * (1 / factor)) in float32      Resize: floor(i / factor)
    a        = -1/2 of cubic antialias                 -3/4

Where Resize by the factors, or to the sizes, is right at every size, it is what is written. Else
linear and cubic interpolation have a factor that is never too small, and what is too much is cut
off; nearest interpolation is a Gather at PyTorch's own indices. (Seen in PyTorch 2.13.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .resized import Resized

_Table = dict[Callable[..., Any], Callable[..., Any]]
_NEAREST = ("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")
_SMOOTH = {
    "upsample_linear1d": ("linear", 0),
    "upsample_bilinear2d": ("linear", 0),
    "upsample_trilinear3d": ("linear", 0),
    "upsample_bicubic2d": ("cubic", 0),
    "_upsample_bilinear2d_aa": ("linear", 1),
    "_upsample_bicubic2d_aa": ("cubic", 1),
}


def interpolations(torch: Any) -> _Table:
    """Return what `torch.onnx.export` takes as `custom_translation_table`."""
    packets = [getattr(torch.ops.aten, name) for name in (*_NEAREST, *_SMOOTH)]
    return {
        overload: _translation(overload, *_SMOOTH.get(packet.__name__, ("nearest", 0)))
        for packet in packets
        for overload in (packet.default, packet.vec)
    }


def _translation(overload: Any, mode: str, antialias: int) -> Callable[..., Any]:
    names = [argument.name for argument in overload._schema.arguments]

    def translate(*args, **kwargs):  # type: ignore[no-untyped-def]
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        factors = given.get("scale_factors")
        if factors is None:
            factors = [given.get(name) for name in names if name.startswith("scales")]
        resized = Resized(given[names[0]], given.get("output_size"), factors)
        if mode == "nearest":
            return resized.nearest()
        return resized.smooth(mode, antialias, bool(given.get("align_corners")))

    return translate
