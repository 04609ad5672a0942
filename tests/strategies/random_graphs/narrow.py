"""Steps: floats of 8 bits, integers of 4, and what reads them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from onnx import TensorProto, helper

from . import values
from .builder import Builder
from .groups import Group

_FLOATS = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
_NIBBLES = ("int4", "uint4")


def _narrow(b: Builder) -> np.dtype | None:
    """Return a type of the opset, or None."""
    known = (*(_FLOATS if b.opset >= 19 else ()), *(_NIBBLES * 2 if b.opset >= 21 else ()))
    return np.dtype(getattr(ml_dtypes, b.pick(*known))) if known else None


def _moved(g: Group, x: str, rank: int) -> str:
    """Move what is narrow, in a way that runtimes may know."""
    b = g.builder
    for _ in range(b.rng.randint(0, 2)):
        match b.rng.randrange(5):
            case 0:
                x = g.one("Reshape", x, b.ints([-1]))
                rank = 1
            case 1:
                x = g.one("Identity", x)
            case 2:
                x = g.one("Transpose", x, perm=list(reversed(range(rank))))
            case 3:
                x, rank = g.one("Unsqueeze", x, b.ints([0])), rank + 1
            case 4:
                x, rank = g.one("Flatten", x, axis=1), 2
    return x


def cast(b: Builder) -> str | None:
    """There and back by Casts, with what does not fit brought to the end of the range or not."""
    x = b.tensor(lambda a: values.is_float(a.dtype) or a.dtype.kind in "iu")
    kind = _narrow(b)
    if x is None or kind is None:
        return None
    array = b.arrays[x]
    if kind.name in _NIBBLES and array.size and not np.abs(array.astype(np.float64)).max() < 7:
        return None  # what comes out is undefined
    b.fragile = True
    g = Group(b)
    small = g.one(
        "Cast", x, to=int(helper.np_dtype_to_tensor_dtype(kind)), saturate=b.pick(None, None, 0, 1)
    )
    back = b.pick(TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.FLOAT16)
    return _first(g.close(g.one("Cast", _moved(g, small, array.ndim), to=back)))


def quantized(b: Builder) -> str | None:
    """QuantizeLinear and DequantizeLinear: one scale, one a channel, or one a block."""
    x = b.tensor(lambda a: a.dtype in (np.float32, np.float16) and a.size > 0)
    kind = _narrow(b)
    if x is None or kind is None:
        return None
    array = b.arrays[x]
    attrs, shape = _grain(b, array.shape)
    g = Group(b)
    parameters = _parameters(b, kind, array.dtype, shape)
    b.fragile = True
    small = g.one("QuantizeLinear", x, *parameters, **attrs)
    if b.chance(0.3):
        small = g.one("Identity", small)
    return _first(g.close(g.one("DequantizeLinear", small, *parameters, **attrs)))


def weights(b: Builder) -> str | None:
    """Constants of a narrow type that are dequantized, alone or as the weights of a product."""
    x = b.tensor(lambda a: a.dtype == np.float32 and a.ndim >= 1 and a.shape[-1] > 0)
    kind = _narrow(b)
    if x is None or kind is None:
        return None
    shape = (b.arrays[x].shape[-1], b.rng.randint(1, 4))
    low, high = (0, 15) if kind.name == "uint4" else (-7, 7)
    drawn = np.random.default_rng(b.rng.getrandbits(32)).integers(low, high, shape)
    attrs, sizes = _grain(b, shape)
    g = Group(b)
    held = _moved(g, b.constant(drawn.astype(np.float32).astype(kind)), 2) if b.chance(0.2) else (
        b.constant(drawn.astype(np.float32).astype(kind))
    )  # fmt: skip
    parameters = _parameters(b, kind, np.dtype(np.float32), sizes)
    made = g.one("DequantizeLinear", held, *parameters, **attrs)
    if b.chance(0.7):
        made = g.one("MatMul", x, made)
    return _first(g.close(made))


def _grain(b: Builder, shape: tuple[int, ...]) -> tuple[dict[str, int], tuple[int, ...]]:
    """Return the attributes and the shape of the scale."""
    axis = b.rng.randrange(len(shape)) if shape else 0
    match b.rng.randrange(3):
        case 1 if shape:
            return {"axis": b.pick(axis, axis - len(shape))}, (shape[axis],)
        case 2 if shape and b.opset >= 21 and shape[axis] > 0:
            size = b.rng.randint(1, shape[axis])
            blocks = -(-shape[axis] // size)
            return {"axis": axis, "block_size": size}, (*shape[:axis], blocks, *shape[axis + 1 :])
    return {}, ()


def _parameters(
    b: Builder, kind: np.dtype, dtype: np.dtype, shape: tuple[int, ...]
) -> tuple[str, ...]:
    generator = np.random.default_rng(b.rng.getrandbits(32))
    scale = b.constant(generator.uniform(0.05, 0.5, shape).astype(dtype))
    low, high = {"uint4": (4, 12), "int4": (-3, 4)}.get(kind.name, (0, 1))
    zero = generator.integers(low, high, shape).astype(np.float32).astype(kind)
    return scale, b.constant(zero)


def _first(names: list[str]) -> str | None:
    return names[0] if names else None
