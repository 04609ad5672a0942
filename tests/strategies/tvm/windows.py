"""Convolutions and pools: every pad, stride, dilation, group and rounding of sizes."""

from __future__ import annotations

from typing import Any

from .draft import Draft, is_spatial
from .elementwise import activation


def _pads(d: Draft, rank: int, most: int = 2) -> dict[str, Any]:
    kind = d.rng.random()
    if kind < 0.2:
        return {"auto_pad": d.pick("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")}
    if kind < 0.4:
        return {}
    return {"pads": [d.between(0, most) for _ in range(2 * rank)]}


def convolution(d: Draft) -> None:
    x = d.tensor(is_spatial)
    if x is None:
        return
    shape = d.values[x].shape
    rank, channels = len(shape) - 2, shape[1]
    group = d.pick(1, 1, channels, *[g for g in (2, 4) if channels % g == 0])
    outs = group * d.pick(1, 1, 2, 3, 8) if group > 1 else d.pick(1, 3, 8, 16, 17)
    kernel = [d.pick(1, 2, 3, 3, 5) for _ in range(rank)]
    attrs: dict[str, Any] = _pads(d, rank)
    if d.flip(0.5):
        attrs["strides"] = [d.between(1, 3) for _ in range(rank)]
    if d.flip(0.3):
        attrs["dilations"] = [d.between(1, 3) for _ in range(rank)]
    w = d.constant(d.normal(outs, channels // group, *kernel, scale=0.5))
    inputs = [x, w]
    if d.flip():
        inputs.append(d.constant(d.normal(outs)))
    made = d.add("Conv", inputs, kernel_shape=kernel, group=group, **attrs)
    if made and d.flip(0.3):
        activation(d, made[0])


def transposed(d: Draft) -> None:
    x = d.tensor(lambda v: is_spatial(v) and v.ndim < 5)
    if x is None:
        return
    shape = d.values[x].shape
    rank, channels = len(shape) - 2, shape[1]
    group = d.pick(1, *[g for g in (2, channels) if channels % g == 0])
    kernel = [d.pick(1, 2, 3, 4) for _ in range(rank)]
    strides = [d.between(1, 3) for _ in range(rank)]
    attrs: dict[str, Any] = _pads(d, rank, 1)
    if d.flip(0.3):
        attrs["output_padding"] = [d.between(0, s - 1) for s in strides]
    if d.flip(0.2):
        attrs["dilations"] = [d.between(1, 2) for _ in range(rank)]
    w = d.constant(d.normal(channels, d.pick(1, 3, 8), *kernel))
    d.add("ConvTranspose", [x, w], strides=strides, kernel_shape=kernel, group=group, **attrs)


def pooling(d: Draft) -> None:
    x = d.tensor(is_spatial)
    if x is None:
        return
    rank = d.values[x].ndim - 2
    op = d.pick("MaxPool", "MaxPool", "AveragePool", "AveragePool", "LpPool")
    attrs: dict[str, Any] = _pads(d, rank)
    attrs["kernel_shape"] = [d.between(1, 4) for _ in range(rank)]
    if d.flip(0.7):
        attrs["strides"] = [d.between(1, 4) for _ in range(rank)]
    if d.flip(0.4) and (op != "LpPool" or d.opset >= 18):
        attrs["ceil_mode"] = 1
    if op == "MaxPool" and d.flip(0.3):
        attrs["dilations"] = [d.between(1, 2) for _ in range(rank)]
    if op == "AveragePool" and d.flip(0.4):
        attrs["count_include_pad"] = 1
    if op == "MaxPool" and d.flip(0.2):
        d.add(op, [x], outputs=2, exact=True, **attrs)
    else:
        d.add(op, [x], exact=op == "MaxPool", **attrs)


def global_pooling(d: Draft) -> None:
    x = d.tensor(is_spatial)
    if x is not None:
        d.add(d.pick("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), [x])


def fed_convolution(d: Draft) -> None:
    """Convolve with weights that are an input of the graph."""
    x = d.tensor(lambda v: is_spatial(v) and v.ndim == 4)
    if x is None:
        return
    channels = d.values[x].shape[1]
    op = d.pick("Conv", "ConvTranspose")
    outs, size = d.pick(1, 4, 9), d.pick(1, 3)
    wide = (outs, channels) if op == "Conv" else (channels, outs)
    w = d.feed(f"w{len(d.inputs)}", d.normal(*wide, size, size))
    inputs = [x, w, *([d.constant(d.normal(outs))] if d.flip() else [])]
    d.add(op, inputs, pads=[size // 2] * 4)
