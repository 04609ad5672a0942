"""What `preprocessor_config.json` of a Transformers model says of pictures, as `Preprocessing`.

    x = (f p + o - mean) / std        p: 0..255; f, o: `rescale_factor`, -1 with `rescale_offset`

and with EfficientNet's `include_top` over std once more.

Source: the image processors of Transformers: `shortest_edge` scales the shorter side, `crop_size`
cuts the middle out, `crop_pct` is the part of the shorter side that the middle has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.errors import FeedError
from .preprocessing import Preprocessing

NAME = "preprocessor_config.json"
# ConvNeXt squashes pictures of this size and above.
_SQUASHED_FROM = 384
# As Pillow numbers them.
_BILINEAR = 2
_METHODS = {
    0: "by nearest pixels",
    1: "by Lanczos",
    3: "bicubically",
    4: "by boxes",
    5: "by Hamming",
}
_KNOWN = frozenset(
    {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_flip_channel_order"}
    | {"do_convert_rgb", "do_reduce_labels"}
)


def read_processor(path: Path) -> tuple[Preprocessing, str]:
    """Return what the file at `path` says, and in words what is done otherwise, if anything.

    Raises FeedError naming what cannot be said here.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return _preprocessing(config), _otherwise(config)
    except (OSError, ValueError) as error:
        raise FeedError(f"cannot read '{path}': {error}") from error
    except _UnsaidError as unsaid:
        raise FeedError(
            f"'{path}' asks for {unsaid}, which options do not say; give --preprocess with a "
            "FILE.py:function"
        ) from unsaid
    except (AttributeError, KeyError, TypeError) as error:
        raise FeedError(
            f"'{path}' is not as Transformers writes it: {type(error).__name__}: {error}; give "
            "--preprocess"
        ) from error


class _UnsaidError(Exception):
    """What a processor does and `Preprocessing` cannot say."""


def _preprocessing(config: Mapping[str, Any]) -> Preprocessing:
    for name, value in config.items():
        if name.startswith("do_") and value and name not in _KNOWN:
            raise _UnsaidError(f"'{name}'")
    factor = float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1
    offset = -1.0 if config.get("rescale_offset") else 0.0
    normalizes = config.get("do_normalize", False)
    std = _channels(config["image_std"]) if normalizes else (1.0,)
    if config.get("include_top"):  # EfficientNet's first layer is in the processor: 1 / std again
        std = tuple(a * b for a, b in _pairs(std, _channels(config["image_std"])))
    return Preprocessing(
        pixels=(offset, round(255 * factor, 12) + offset),
        mean=_channels(config["image_mean"]) if normalizes else (0.0,),
        std=std,
        bgr=bool(config.get("do_flip_channel_order")),
        **_resizing(config),
    )


def _pairs(one: tuple[float, ...], other: tuple[float, ...]) -> Iterator[tuple[float, float]]:
    most = max(len(one), len(other))
    yield from zip(one * (most // len(one)), other * (most // len(other)), strict=True)


def _otherwise(config: Mapping[str, Any]) -> str:
    method = config.get("resample", _BILINEAR)
    if method == _BILINEAR or not config.get("do_resize", "size" in config):
        return ""
    return f"pictures are resized bilinearly, and not {_METHODS.get(method, method)}"


def _channels(value: Any) -> tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, list) else (float(value),)


def _resizing(config: Mapping[str, Any]) -> dict[str, Any]:
    crops = config.get("do_center_crop", False)
    if not config.get("do_resize", "size" in config):
        if crops:
            raise _UnsaidError("a crop without a resize")
        return {}
    size = config.get("size", {})
    edge = size if isinstance(size, int) else size.get("shortest_edge")
    if edge is None:
        squashed = int(size["height"]), int(size["width"])
        if crops and _pair(config["crop_size"]) != squashed:
            raise _UnsaidError("a resize to one size and a crop to another")
        return {"resize": "squash", "size": squashed}
    part = config.get("crop_pct")
    if part is not None and not crops:  # ConvNeXt
        resize = "squash" if edge >= _SQUASHED_FROM else "crop"
        return {"resize": resize, "size": (edge, edge), "kept": float(part)}
    if not crops:
        raise _UnsaidError("pictures of any shape ('shortest_edge' without a crop)")
    wanted = _pair(config["crop_size"])
    if len(set(wanted)) > 1:
        raise _UnsaidError(f"a crop of {wanted[0]} x {wanted[1]}, which is no square")
    kept = float(part) if part is not None else min(wanted) / edge
    if kept > 1:
        raise _UnsaidError(f"a crop of {min(wanted)} from {edge}")
    return {"resize": "crop", "size": wanted, "kept": kept}


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size["height"]), int(size["width"]))
