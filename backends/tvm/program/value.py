"""A tensor of a Relax program under construction: an expression and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..graph.quantized import TensorQuantization
from ..spec.layout import BufferSpec, Layout, plain_spec


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


def shape_of(expr: Any) -> tuple[Any, ...]:
    """Return the sizes of an expression, numbers where they are known."""
    return tuple(size_of(dim) for dim in expr.ty.shape)


def size_of(dim: Any) -> Any:
    """Return a size as a number where it is one."""
    from tvm import tirx

    return int(dim) if isinstance(dim, int | tirx.IntImm) else dim


def batch_of(size: Any) -> int | None:
    """Return what a kernel is told of the number of images."""
    return size if isinstance(size, int) else None
