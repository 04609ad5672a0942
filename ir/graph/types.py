"""Element types and shapes of tensors, as inference found them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..proto.values import element_type, sizes

Dim = int | str | None
Shape = tuple[Dim, ...]

MADE_UP = "unk__"  # how the names begin that ONNX's inference gives to sizes it does not know


@dataclass(frozen=True)
class TensorType:
    """Element type (numpy) and shape of a tensor; `shape` is None where the rank is unknown."""

    dtype: np.dtype[np.generic]
    shape: Shape | None


@dataclass(frozen=True, kw_only=True)
class Types:
    """The inferred types of one graph, by tensor identity, and what inference complained of.

    `plain` is what ONNX's inference says by itself, where it was corrected. `propagated`: whether
    it followed the values of lists of sizes. `complains`: whether it says what is wrong, which it
    does of no graph with an operator that it does not know. `names` is how many names of sizes were
    made up since.
    """

    problem: str | None = None
    plain: Types | None = None
    propagated: bool = True
    complains: bool = True
    names: int = 0
    _known: dict[int, TensorType | None] = field(default_factory=dict, repr=False)
    # Most tensors are never asked about, so what inference said of them is read on demand.
    _unread: dict[int, onnx.ValueInfoProto] = field(default_factory=dict, repr=False)
    # Tensors compare by name and are looked up by id, so their ids must stay taken.
    _alive: list[gs.Tensor] = field(default_factory=list, repr=False)

    def copy(self) -> Types:
        """Return types that learn apart from these."""
        return replace(
            self, _known=dict(self._known), _unread=dict(self._unread), _alive=list(self._alive)
        )

    def of_copies(self, copies: Mapping[int, gs.Tensor]) -> Types:
        """Return the types of `copies`, by the id of what each is a copy of."""
        known = {key: copies[key] for key in (*self._known, *self._unread) if key in copies}
        return replace(
            self,
            plain=None if self.plain is None else self.plain.of_copies(copies),
            _known={id(known[key]): v for key, v in self._known.items() if key in known},
            _unread={id(known[key]): v for key, v in self._unread.items() if key in known},
            _alive=list(known.values()),
        )

    def learn(self, tensor: gs.Tensor, found: TensorType | None) -> None:
        """Record the type of `tensor`."""
        self._known[id(tensor)] = found
        self._alive.append(tensor)

    def learn_inferred(
        self, tensors: Iterable[gs.Tensor], infos: Mapping[str, onnx.ValueInfoProto]
    ) -> None:
        """Record the types of those of `tensors` whose names inference knows."""
        found = [tensor for tensor in tensors if tensor.name in infos]
        self._unread.update({id(tensor): infos[tensor.name] for tensor in found})
        self._alive.extend(found)

    def learned(self, tensor: gs.Tensor) -> TensorType | None:
        """Return the type that `learn` was given."""
        return self._known.get(id(tensor))

    def of(self, tensor: gs.Tensor) -> TensorType | None:
        """Return the type of `tensor`, or None where it is unknown."""
        key = id(tensor)
        known = self._known.get(key)
        if known is not None or key in self._known:
            return known
        if key in self._unread:
            found = self._known[key] = _read(self._unread.pop(key))
            return found
        if isinstance(tensor, gs.Constant):
            values = tensor._values
            if isinstance(values, np.ndarray):
                return TensorType(values.dtype, values.shape)
            return TensorType(dtypes.numpy_dtype(tensor.dtype), tuple(tensor.shape))
        return None

    def agreed(self, tensor: gs.Tensor) -> TensorType | None:
        """Return the type of `tensor`, without the sizes that ONNX's inference has wrong.

        Runtimes load a graph with that inference: one that relies on the right size is refused.
        """
        right = self.of(tensor)
        if self.plain is None or right is None or right.shape is None:
            return right
        plain = self.plain.of(tensor)
        if plain is None or plain.shape is None:
            return right
        if len(right.shape) != len(plain.shape):
            return TensorType(right.dtype, None)
        pairs = zip(right.shape, plain.shape, strict=True)
        agreed = tuple(None if isinstance(b, int) and a != b else a for a, b in pairs)
        return TensorType(right.dtype, agreed)


def without_made_up(size: Dim) -> Dim:
    """Return a size, None for a name that inference made up: it means something in one run only."""
    return None if isinstance(size, str) and size.startswith(MADE_UP) else size


def _read(info: onnx.ValueInfoProto) -> TensorType | None:
    if info.type.WhichOneof("value") != "tensor_type":
        return None
    dtype = element_type(info)
    return None if dtype is None else TensorType(dtype, sizes(info))
