"""Resize, in every mode, by scales and by sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .draft import Draft, is_float, is_spatial


def resize(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and 2 <= v.ndim <= 5 and v.size > 0)
    if x is None or d.opset < 11:
        return
    shape = d.values[x].shape
    attrs: dict[str, Any] = {
        "mode": d.pick("nearest", "nearest", "linear", "linear", "cubic"),
        "coordinate_transformation_mode": d.pick(
            "half_pixel", "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric",
            *(["half_pixel_symmetric"] if d.opset >= 19 else []),
        ),
    }  # fmt: skip
    if attrs["mode"] == "nearest":
        attrs["nearest_mode"] = d.pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    if attrs["mode"] == "cubic" and d.flip(0.5):
        attrs["cubic_coeff_a"] = -0.5
    if attrs["mode"] != "nearest" and d.flip(0.3) and attrs["mode"] == "cubic":
        attrs["exclude_outside"] = 1
    if d.opset >= 18 and attrs["mode"] != "nearest" and d.flip(0.3):
        attrs["antialias"] = 1
    first = min(2, len(shape) - 1)
    factors = [d.pick(0.5, 0.7, 1.0, 1.5, 2.0, 2.0, 3.0, 2.6) for _ in shape[first:]]
    roi = d.constant(np.zeros(0, np.float32)) if d.opset < 13 else ""
    if d.flip(0.6):
        scales = d.constant([1.0] * first + factors, np.float32)
        d.add("Resize", [x, roi, scales], **attrs)
        return
    sizes = [max(1, int(s * f)) for s, f in zip(shape[first:], factors, strict=True)]
    if d.opset >= 18 and d.flip(0.3):
        attrs["keep_aspect_ratio_policy"] = d.pick("stretch", "not_larger", "not_smaller")
        attrs["axes"] = list(range(first, len(shape)))
        wanted = d.constant(sizes, np.int64)
    else:
        wanted = d.constant([*shape[:first], *sizes], np.int64)
    d.add("Resize", [x, roi, roi and d.constant(np.zeros(0, np.float32)), wanted], **attrs)


def upsample(d: Draft) -> None:
    """Upsample, which Resize took the place of in opset 10."""
    x = d.tensor(lambda v: is_spatial(v) and v.ndim == 4)
    if x is None or d.opset != 9:
        return
    scales = d.constant([1.0, 1.0, d.pick(1.0, 1.5, 2.0), d.pick(1.0, 2.0, 3.0)], np.float32)
    d.add("Upsample", [x, scales], mode=d.pick("nearest", "linear"))


def sampled(d: Draft) -> None:
    """Sample at positions that are an input, some of them outside."""
    x = d.tensor(lambda v: is_spatial(v) and v.ndim == 4)
    if x is None or d.opset < 17:
        return
    places = d.normal(d.values[x].shape[0], d.between(1, 4), d.between(1, 4), 2, scale=0.6)
    linear = "linear" if d.opset >= 20 else "bilinear"
    d.add(
        "GridSample",
        [x, d.feed(f"g{len(d.inputs)}", places)],
        mode=linear,
        padding_mode=d.pick("zeros", "border"),
        align_corners=d.pick(0, 1),
    )
