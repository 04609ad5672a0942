"""Steps: convolutions, pooling and resizing over one to three axes, and products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import values
from .builder import Builder


def image(b: Builder) -> str | None:
    """Return a float tensor with at least one spatial axis."""
    return b.tensor(lambda a: a.dtype == np.float32 and 3 <= a.ndim <= 5)


def weights(b: Builder, *shape: int, scale: float | None = None) -> np.ndarray:
    """Return random weights that keep the size of what they are multiplied with."""
    made = values.ordinary(b.rng, np.dtype(np.float32), shape)
    fan = math.prod(shape[1:]) or 1
    return made * np.float32(fan**-0.5 if scale is None else scale)


def _windows(b: Builder, x: str, largest: int = 3) -> dict[str, Any]:
    sizes = b.arrays[x].shape[2:]
    kernel = [b.rng.randint(1, max(1, min(largest, size))) for size in sizes]
    attrs: dict[str, Any] = {"kernel_shape": kernel}
    if b.chance(0.5):
        attrs["strides"] = [b.pick(1, 1, 2, 3) for _ in sizes]
    match b.rng.randrange(6):
        case 0:
            attrs["auto_pad"] = b.pick("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
        case 1 | 2:
            attrs["pads"] = [b.rng.randint(0, k - 1) for k in (*kernel, *kernel)]
        case 3:
            attrs["pads"] = [k // 2 for k in (*kernel, *kernel)]
    return attrs


def conv(b: Builder, x: str | None = None) -> str | None:
    """A convolution: plain, grouped, depthwise, dilated, 1x1; with bias or without."""
    x = x or image(b)
    if x is None:
        return None
    channels = b.arrays[x].shape[1]
    attrs = _windows(b, x)
    kernel = attrs["kernel_shape"]
    if b.chance(0.35):
        kernel[:] = [1] * len(kernel)
        attrs = {
            "kernel_shape": kernel,
            **({"strides": [2] * len(kernel)} if b.chance(0.1) else {}),
        }
    elif b.chance(0.2):
        attrs["dilations"] = [b.pick(1, 2) for _ in kernel]
    group = b.rng.choice([g for g in range(1, channels + 1) if channels % g == 0] or [1])
    if b.chance(0.5):
        group = 1
    out = group * b.rng.randint(1, max(1, 5 // group))
    inputs = [x, b.constant(weights(b, out, channels // group, *kernel))]
    if b.chance(0.5):
        inputs.append(b.constant(weights(b, out, scale=1.0)))
    if b.chance(0.4):
        del attrs["kernel_shape"]
    return b.one("Conv", *inputs, group=None if group == 1 else group, **attrs)


def conv_transpose(b: Builder) -> str | None:
    """A transposed convolution with pads or output padding; of no elements the runtime crashes."""
    x = b.tensor(lambda a: a.dtype == np.float32 and 3 <= a.ndim <= 5 and 0 < a.size < 300)
    if x is None:
        return None
    channels = b.arrays[x].shape[1]
    sizes = b.arrays[x].shape[2:]
    group = b.pick(1, 1, channels) or 1
    kernel = [b.rng.randint(1, 3) for _ in sizes]
    strides = [b.pick(1, 2, 2) for _ in sizes]
    attrs: dict[str, Any] = {"strides": strides}
    match b.rng.randrange(4):
        case 0:
            attrs["pads"] = [b.rng.randint(0, (k - 1) // 2) for k in (*kernel, *kernel)]
        case 1:
            attrs["output_padding"] = [b.rng.randint(0, s - 1) for s in strides]
        case 2:
            attrs["auto_pad"] = b.pick("SAME_UPPER", "SAME_LOWER", "VALID")
    inputs = [x, b.constant(weights(b, channels, b.rng.randint(1, 2), *kernel, scale=0.5))]
    if b.chance(0.5):
        out = b.arrays[inputs[1]].shape[1] * group
        inputs.append(b.constant(weights(b, out, scale=1.0)))
    return b.one("ConvTranspose", *inputs, group=group, **attrs)


def pool(b: Builder) -> str | None:
    """MaxPool, AveragePool, LpPool, with ceil_mode and counted pads; or a global one."""
    x = image(b)
    if x is None:
        return None
    if b.chance(0.2):
        return b.one(b.pick("GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool"), x)
    op = b.pick("MaxPool", "MaxPool", "AveragePool", "AveragePool", "LpPool")
    attrs = _windows(b, x)
    if op != "LpPool" and b.opset >= 10 and b.chance(0.3):
        attrs["ceil_mode"] = b.pick(0, 1, 1)
    if op == "AveragePool":
        attrs["count_include_pad"] = b.pick(None, 0, 1)
    if op == "MaxPool" and b.opset >= 10 and b.chance(0.15):
        attrs["dilations"] = [b.pick(1, 2) for _ in attrs["kernel_shape"]]
    return b.one(op, x, **attrs)


def resize(b: Builder) -> str | None:
    """A Resize by scales or sizes, in the modes of its opset; Upsample before it was there."""
    x = b.tensor(lambda a: a.dtype == np.float32 and 3 <= a.ndim <= 5 and 0 < a.size < 300)
    if x is None:
        return None
    sizes = b.arrays[x].shape
    factors = [b.pick(0.5, 1, 1.5, 2, 2) for _ in sizes[2:]]
    factors = factors if b.chance(0.5) else [2.0] * len(factors)
    scales = np.array([1, 1, *factors], np.float32)
    mode = b.pick("nearest", "nearest", "linear")
    if b.opset < 10:
        return b.one("Upsample", x, b.constant(np.maximum(scales, 1)), mode=mode)
    if b.opset < 11:
        return b.one("Resize", x, b.constant(scales), mode=mode)
    attrs = {"mode": mode, "coordinate_transformation_mode": b.pick(
        None, "asymmetric", "align_corners", "pytorch_half_pixel")}  # fmt: skip
    if mode == "nearest":
        attrs["nearest_mode"] = b.pick(None, "floor", "ceil", "round_prefer_ceil")
    roi = "" if b.opset >= 13 or b.chance(0.5) else b.constant(np.zeros(0, np.float32))
    if b.chance(0.5):
        return b.one("Resize", x, roi, b.constant(scales), **attrs)
    empty = "" if b.opset >= 13 else b.constant(np.zeros(0, np.float32))
    wanted = [*sizes[:2], *(max(1, int(n * f)) for n, f in zip(sizes[2:], factors, strict=True))]
    return b.one("Resize", x, roi, empty, b.ints(wanted), **attrs)


def batchnorm(b: Builder, x: str | None = None) -> str | None:
    """BatchNormalization, of two axes or more; now and then with variances near zero."""
    x = x or b.tensor(lambda a: a.dtype == np.float32 and 2 <= a.ndim <= 5)
    if x is None:
        return None
    channels = b.arrays[x].shape[1]
    variance = np.abs(weights(b, channels, scale=1.0)) + np.float32(0.1)
    if channels and b.chance(0.1):
        variance[0] = 0
    epsilon = b.pick(None, 1e-3, 0.1)
    scale = weights(b, channels, scale=1.0) * np.sqrt(variance + np.float32(epsilon or 1e-5))
    others = [weights(b, channels, scale=0.3) for _ in range(2)]
    names = [b.constant(array) for array in (scale, *others, variance)]
    return b.one("BatchNormalization", x, *names, epsilon=epsilon)


def instance_norm(b: Builder) -> str | None:
    """InstanceNormalization, GroupNormalization or LRN; without elements the runtime crashes."""
    x = b.tensor(lambda a: a.dtype == np.float32 and 3 <= a.ndim <= 5 and a.size > 0)
    if x is None:
        return None
    channels = b.arrays[x].shape[1]
    if b.chance(0.2):
        return b.one("LRN", x, size=3)
    names = [b.constant(weights(b, channels, scale=1.0)) for _ in range(2)]
    if b.opset >= 21 and b.chance(0.5):
        groups = b.rng.choice([g for g in range(1, channels + 1) if channels % g == 0] or [1])
        return b.one("GroupNormalization", x, *names, num_groups=groups)
    return b.one("InstanceNormalization", x, *names)


def matmul(b: Builder) -> str | None:
    """MatMul with a matrix on either side, a vector, or another tensor."""
    x = b.tensor(lambda a: a.dtype == np.float32 and a.ndim > 0)
    if x is None:
        return None
    shape = b.arrays[x].shape
    if b.chance(0.7) or len(shape) == 1:
        out = b.rng.randint(1, 4)
        made = b.one("MatMul", x, b.constant(weights(b, out, shape[-1]).T.copy()))
        if made and b.chance(0.5):
            made = b.one("Add", made, b.constant(weights(b, out, scale=1.0))) or made
        return made
    if b.chance(0.4):
        return b.one("MatMul", b.constant(weights(b, b.rng.randint(1, 4), shape[-2])), x)
    other = b.tensor(lambda a: a.dtype == np.float32 and a.ndim > 1 and a.shape[-2] == shape[-1])
    return b.one("MatMul", x, other) if other else None


def gemm(b: Builder) -> str | None:
    """A Gemm, transposed and scaled in every way, with a bias of any broadcast shape."""
    x = b.tensor(lambda a: a.dtype == np.float32 and a.ndim == 2)
    if x is None:
        return None
    trans_a, trans_b = b.chance(0.2), b.chance(0.5)
    rows, inner = b.arrays[x].shape[:: -1 if trans_a else 1]
    out = b.rng.randint(1, 4)
    w = weights(b, out, inner)
    inputs = [x, b.constant(w if trans_b else w.T.copy())]
    if b.chance(0.6) or b.opset < 11:
        shape = b.pick((out,), (1, out), (1,), (), (rows, 1), (rows, out))
        inputs.append(b.constant(weights(b, *shape, scale=1.0)))
    attrs: dict[str, Any] = {"transA": int(trans_a) or None, "transB": int(trans_b) or None}
    attrs |= {"alpha": b.pick(None, None, 0.5), "beta": b.pick(None, None, 2.0, 0.0)}
    return b.one("Gemm", *inputs, **attrs)
