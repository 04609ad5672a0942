"""The parameters of a QuantizeLinear or DequantizeLinear, whatever the opset.

    x = (q - zero_point) * scale        q = saturate(round(x / scale) + zero_point), halves to even

One scale stands for the whole tensor; from opset 13 on also one for each index of `axis`, and from
opset 21 on one for each block of `block_size` along it. Without a zero point it is 0, and what a
QuantizeLinear gives is uint8 unless `output_dtype` names another type (ONNX operators
QuantizeLinear, DequantizeLinear; Jacob et al., CVPR 2018, section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...core import dtypes
from ..traits.recognized import NEWEST, value_of

Array = np.ndarray[Any, Any]
ValuesOf = Callable[[gs.Tensor], Array | None]

_READ = frozenset({"axis", "block_size", "output_dtype", "precision", "saturate"})


@dataclass(frozen=True, kw_only=True)
class QuantizationParameters:
    """What a node is told: tensors, and integers of attributes (0 where one is absent).

    `axis` is as written, so that it may count from the end. `unread` names the attributes that a
    later opset may have, and those that the caller of a function gives.
    """

    scale: gs.Tensor
    zero_point: gs.Tensor | None
    axis: int
    block: int
    output_type: int
    precision: int
    unread: frozenset[str]

    @property
    def is_plain(self) -> bool:
        """Say whether scale and zero point alone decide, as up to opset 20."""
        return not (self.block or self.output_type or self.precision or self.unread)

    def constants(self, values_of: ValuesOf) -> ConstantParameters | None:
        """Return the parameters where all are known; `values_of` says what a tensor holds."""
        scale = values_of(self.scale)
        zero = None if self.zero_point is None else values_of(self.zero_point)
        if scale is None or self.unread or (zero is None and self.zero_point is not None):
            return None
        return ConstantParameters(scale, zero, self.axis, self.block, self.output_type)


@dataclass(frozen=True)
class ConstantParameters:
    """Scale and zero point (None: zeros) as stored; the rest as in `QuantizationParameters`."""

    scale: Array
    zero_point: Array | None
    axis: int = 1
    block: int = 0
    output_type: int = 0

    @property
    def is_per_tensor(self) -> bool:
        """Say whether one scale and one zero point stand for all values."""
        return self.scale.size == 1 and (self.zero_point is None or self.zero_point.size == 1)

    @property
    def integer_type(self) -> np.dtype[Any]:
        """The type of what a QuantizeLinear gives."""
        if self.zero_point is not None:
            return np.dtype(self.zero_point.dtype)
        return dtypes.numpy_dtype(self.output_type) if self.output_type else np.dtype(np.uint8)

    @property
    def real_type(self) -> np.dtype[Any]:
        """The type of what a DequantizeLinear gives."""
        return dtypes.numpy_dtype(self.output_type) if self.output_type else self.scale.dtype

    def broadcast(self, shape: tuple[int, ...]) -> tuple[Array, Array] | None:
        """Return scale and zero point in float64, as they broadcast against values of `shape`.

        None where they do not fit it.
        """
        scale = self._along(self.scale, shape)
        zero = np.zeros_like(self.scale) if self.zero_point is None else self.zero_point
        zero_point = self._along(zero, shape)
        return None if scale is None or zero_point is None else (scale, zero_point)

    def quantize(self, values: Array) -> Array | None:
        """Return the integers that a QuantizeLinear gives, None where the shapes do not fit.

        None for float8 as well, which is no grid of equal steps.
        """
        parts, dtype = self.broadcast(values.shape), self.integer_type
        if parts is None or not dtypes.is_integer(dtype):
            return None
        scale, zero = parts
        whole = np.clip(np.rint(values / scale) + zero, *dtypes.integer_limits(dtype))
        return np.asarray(whole).astype(dtype)

    def dequantize(self, integers: Array) -> Array | None:
        """Return what a DequantizeLinear gives, rounded once; None where the shapes do not fit."""
        parts = self.broadcast(integers.shape)
        if parts is None:
            return None
        scale, zero = parts
        return np.asarray((integers.astype(np.float64) - zero) * scale).astype(self.real_type)

    def _along(self, held: Array, shape: tuple[int, ...]) -> Array | None:
        part = held.astype(np.float64)
        if part.size == 1:
            return part.reshape(())
        if not -len(shape) <= self.axis < len(shape):
            return None
        axis = self.axis % len(shape)
        if self.block:
            if part.ndim != len(shape) or part.shape[axis] * self.block < shape[axis]:
                return None
            blocks = np.repeat(part, self.block, axis=axis)
            return np.take(blocks, range(shape[axis]), axis=axis)
        if part.size != shape[axis]:
            return None
        return part.reshape([-1 if i == axis else 1 for i in range(len(shape))])


def read_quantization(
    node: gs.Node, attributes: Mapping[str, Any] | None = None
) -> QuantizationParameters:
    """Return the parameters of a QuantizeLinear or DequantizeLinear.

    `attributes`: those of the node where the caller of its function has been asked.
    """
    held = node.attrs if attributes is None else attributes
    given = len(node.inputs) > 2 and not node.inputs[2].is_empty()
    references = {k for k, v in held.items() if isinstance(v, gs.Node.AttributeRef)}

    def integer(name: str) -> int:
        found = None if name in references else value_of(str(node.op), held, name, NEWEST)
        return int(found or 0)

    return QuantizationParameters(
        scale=node.inputs[1],
        zero_point=node.inputs[2] if given else None,
        axis=integer("axis"),
        block=integer("block_size"),
        output_type=integer("output_dtype"),
        precision=integer("precision"),
        unread=frozenset(references | (held.keys() - _READ)),
    )
