"""A tensor of a Relax program under construction: an expression and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ....ir.core import dtypes
from ..graph.quantized import TensorQuantization
from ..spec.layout import BufferSpec, Layout, plain_spec

# Types that a program has memory for; bfloat16 comes from no feed.
_HELD = {"bool", "float16", "bfloat16", "float32", "float64"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


def is_held(dtype: Any) -> bool:
    """Say whether a program holds tensors of `dtype`, or it is not known: no text, no few bits."""
    return dtype is None or dtypes.type_name(dtype) in _HELD


@dataclass(frozen=True, kw_only=True)
class Value:
    """A tensor in memory: an expression, its layout (None: as in ONNX), sizes and element type.

    `shape` is the tensor's; `spatial` are the sizes that a blocked buffer has besides channels.
    `zero` is the number that stands for 0, also in the halo. With a `scale` the tensor is float32,
    and held as (number - zero) * scale.
    """

    expr: Any
    layout: Layout | None
    shape: tuple[Any, ...]
    spatial: tuple[int, ...] = ()
    dtype: str = "float32"
    zero: int = 0
    scale: float | None = None

    def spec(self, *, single: bool = False, raw: bool = False) -> BufferSpec:
        """Return what kernels see of it; `raw`: its numbers as they are stored."""
        if self.layout is None:
            spec = plain_spec(int(self.shape[1]), [int(s) for s in self.shape[2:]], self.dtype)
        else:
            spec = self.layout.spec(self.spatial, single=single, dtype=self.dtype)
        return replace(spec, zero=self.zero, scale=None if raw else self.scale)

    @property
    def quantization(self) -> TensorQuantization | None:
        """The parameters that a float32 tensor is quantized by."""
        return None if self.scale is None else TensorQuantization(self.scale, self.zero, self.dtype)

    @property
    def is_plain(self) -> bool:
        """Say whether it is held as ONNX has it."""
        return self.layout is None and self.scale is None


def shape_of(expr: Any) -> tuple[Any, ...] | None:
    """Return the sizes of an expression, numbers where they are known; None without a rank.

    Converters hold some integers as sizes, which are no tensors: a row of them, or a single one.
    """
    from tvm import relax

    kind = expr.ty
    if isinstance(kind, relax.ShapeType):
        return None if kind.ndim < 0 else (int(kind.ndim),)
    if not isinstance(kind, relax.TensorType):
        return ()
    if isinstance(kind.shape, relax.ShapeExpr):
        return tuple(size_of(dim) for dim in kind.shape)
    return None


def dtype_of(expr: Any) -> str:
    """Return the element type of an expression; sizes are int64."""
    from tvm import relax

    return str(expr.ty.dtype) if isinstance(expr.ty, relax.TensorType) else "int64"


def as_tensor(builder: Any, expr: Any) -> Any:
    """Return `expr` as a tensor, which sizes are made into."""
    from tvm import relax

    if isinstance(expr.ty, relax.ShapeType):
        return builder.emit(relax.op.shape_to_tensor(expr))
    if not isinstance(expr.ty, relax.TensorType):
        row = builder.emit(relax.op.shape_to_tensor(relax.ShapeExpr([expr])))
        return builder.emit(relax.op.reshape(row, relax.ShapeExpr([])))
    return expr


def size_of(dim: Any) -> Any:
    """Return a size as a number where it is one."""
    from tvm import tirx

    return int(dim) if isinstance(dim, int | tirx.IntImm) else dim


def batch_of(size: Any) -> int | None:
    """Return what a kernel is told of the number of images."""
    return size if isinstance(size, int) else None
