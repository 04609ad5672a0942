"""Element types and shapes of tensors, as inference found them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..proto.values import variable

Dim = int | str | None
Shape = tuple[Dim, ...]


@dataclass(frozen=True)
class TensorType:
    """Element type (numpy) and shape of a tensor; `shape` is None where the rank is unknown."""

    dtype: np.dtype[np.generic]
    shape: Shape | None


@dataclass(frozen=True)
class Types:
    """The inferred types of one graph, by tensor identity, and what inference complained of.

    `plain` is what ONNX's inference says by itself, where it was corrected.
    """

    problem: str | None = None
    plain: Types | None = None
    _known: dict[int, TensorType | None] = field(default_factory=dict, repr=False)
    # Most tensors are never asked about, so what inference said of them is read on demand.
    _unread: dict[int, onnx.ValueInfoProto] = field(default_factory=dict, repr=False)
    # Tensors compare by name and are looked up by id, so their ids must stay taken.
    _alive: list[gs.Tensor] = field(default_factory=list, repr=False)

    def learn(self, tensor: gs.Tensor, found: TensorType | onnx.ValueInfoProto) -> None:
        """Record the type of `tensor`."""
        if isinstance(found, TensorType):
            self._known[id(tensor)] = found
        else:
            self._unread[id(tensor)] = found
        self._alive.append(tensor)

    def of(self, tensor: gs.Tensor) -> TensorType | None:
        """Return the type of `tensor`, or None where it is unknown."""
        key = id(tensor)
        if key in self._known:
            return self._known[key]
        if key in self._unread:
            found = self._known[key] = _read(self._unread.pop(key))
            return found
        if isinstance(tensor, gs.Constant):
            return TensorType(dtypes.numpy_dtype(tensor.dtype), tuple(tensor.shape))
        return None

    def agreed(self, tensor: gs.Tensor) -> TensorType | None:
        """Return the type of `tensor`, without the sizes that ONNX's inference has wrong.

        Runtimes load a graph with that inference: one that relies on the right size is refused.
        """
        right = self.of(tensor)
        plain = None if self.plain is None else self.plain.of(tensor)
        if right is None or right.shape is None or plain is None or plain.shape is None:
            return right
        if len(right.shape) != len(plain.shape):
            return TensorType(right.dtype, None)
        pairs = zip(right.shape, plain.shape, strict=True)
        agreed = tuple(None if isinstance(b, int) and a != b else a for a, b in pairs)
        return TensorType(right.dtype, agreed)


def _read(info: onnx.ValueInfoProto) -> TensorType | None:
    if info.type.WhichOneof("value") != "tensor_type":
        return None
    found = variable(info)
    if found.dtype is None:
        return None
    return TensorType(found.dtype, None if found.shape is None else tuple(found.shape))
