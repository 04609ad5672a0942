"""Tensors whose values are not in the proto but at a place of a list that travels beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from ..core import dtypes
from ..core.file_values import FileValues
from ..core.variables import dense_values
from .tensor_data import TensorData

LEFT_OUT = "left-out"


def can_leave_out(constant: gs.Constant) -> bool:
    """Say whether the values of `constant` are an array of whole bytes, and no strings."""
    values = dense_values(constant)
    return values is not None and values.dtype.kind not in "OUS" and dtypes.bits(values.dtype) >= 8


def mark_left_out(proto: TensorProto, place: int) -> None:
    """Say of an external tensor that its values are at `place` of the list."""
    for key, value in (("location", LEFT_OUT), ("offset", str(place))):
        proto.external_data.add(key=key, value=value)


def left_out_at(proto: TensorProto) -> int | None:
    """Return the place of the values of `proto` in the list; None where they are elsewhere."""
    entries = {entry.key: entry.value for entry in proto.external_data}
    return int(entries["offset"]) if entries.get("location") == LEFT_OUT else None


class DataBeside(TensorData):
    """Reads left-out tensors from `weights`, without a copy; others from files in `folder`."""

    def __init__(
        self,
        weights: Sequence[np.ndarray[Any, Any] | FileValues],
        folder: Path | None = None,
        *,
        lazily: bool = False,
    ) -> None:
        super().__init__(folder, lazily=lazily)
        self._weights = weights

    def held(self, tensor: TensorProto) -> np.ndarray[Any, Any] | FileValues:
        """Return the values of an initializer as a constant is to hold them."""
        place = left_out_at(tensor)
        found = None if place is None else self._weights[place]
        return found if isinstance(found, FileValues) else super().held(tensor)

    def array(self, tensor: TensorProto) -> np.ndarray[Any, Any]:
        """Return the values of `tensor` as a read-only array."""
        place = left_out_at(tensor)
        if place is None:
            return super().array(tensor)
        found = self._weights[place]
        values = (found.load() if isinstance(found, FileValues) else found).view()
        values.flags.writeable = False
        return values
