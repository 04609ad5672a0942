"""The data of tensors: inside the model, or in files beside it (ONNX "External Data" page).

External weights are mapped into memory, never read whole, so a model larger than memory's half
still loads; and a location may only name a regular file inside the model's own folder.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from ..core import dtypes
from ..core.errors import LoadError
from ..core.file_values import FileValues, WeightFile

# Smaller ones are views of one map.
_LARGE = 1 << 16
_MOST_DIGITS = 19  # no file is longer than a 64-bit number says
# Types whose raw data are, byte by byte, what numpy holds: little-endian.
_AS_STORED = {
    kind: np.dtype(code)
    for kind, code in (
        (TensorProto.FLOAT, "f4"),
        (TensorProto.DOUBLE, "f8"),
        (TensorProto.FLOAT16, "f2"),
        (TensorProto.INT64, "i8"),
        (TensorProto.INT32, "i4"),
        (TensorProto.INT8, "i1"),
        (TensorProto.UINT8, "u1"),
    )
    if sys.byteorder == "little"
}
_STORABLE = frozenset(TensorProto.DataType.values()) - {TensorProto.UNDEFINED, TensorProto.STRING}


class TensorData:
    """Reader of the tensors of one model file.

    `folder` is the folder that holds the model, or None for a model that came without a path
    (bytes or a ModelProto), whose external tensors are then refused. `lazily`: large external
    tensors are mapped one by one, when they are asked for.
    """

    def __init__(self, folder: Path | None, *, lazily: bool = False) -> None:
        self._folder = folder
        self._lazily = lazily
        self._files: dict[Path, WeightFile] = {}
        self._maps: dict[Path, np.ndarray[Any, Any]] = {}

    def held(self, tensor: TensorProto) -> np.ndarray[Any, Any] | FileValues:
        """Return the values of an initializer as a constant is to hold them."""
        large = self._lazily and tensor.data_location == TensorProto.EXTERNAL
        if not large or min(tensor.dims, default=0) <= 0 or dtypes.bits(tensor.data_type) < 8:
            return self.values(tensor)
        path, offset, size = self._place(tensor)
        if size < _LARGE:
            return self.array(tensor)
        dtype = dtypes.numpy_dtype(tensor.data_type)
        return FileValues(self._files[path], offset, dtype, tuple(tensor.dims), mapped=True)

    def array(self, tensor: TensorProto) -> np.ndarray[Any, Any]:
        """Return the values of an external `tensor` as a read-only view of the mapped file.

        Raises LoadError where the location leaves the folder, is no regular file, or is too short.
        """
        path, offset, length = self._place(tensor)
        buffer = self._map(path, tensor.name)
        if dtypes.bits(tensor.data_type) < 8:
            return _unpack(tensor, buffer[offset : offset + length].tobytes())
        flat = buffer[offset : offset + length]
        return flat.view(dtypes.numpy_dtype(tensor.data_type)).reshape(tuple(tensor.dims))

    def _place(self, tensor: TensorProto) -> tuple[Path, int, int]:
        """Return the file of an external `tensor`, where in it the values begin, and their size."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if tensor.data_type not in _STORABLE:
            raise LoadError(
                f"tensor '{tensor.name}' is of element type {tensor.data_type}, which has no "
                "form in an external file; export the model again with this tensor inside"
            )
        path = self._resolve(entries.get("location", ""), tensor.name)
        count = math.prod(tensor.dims)
        size = dtypes.byte_size(count, tensor.data_type)
        offset = self._number(entries, "offset", 0, tensor.name)
        length = self._number(entries, "length", size, tensor.name)
        if length != size:
            raise LoadError(
                f"tensor '{tensor.name}' of shape {list(tensor.dims)} and type "
                f"{dtypes.type_name(tensor.data_type)} needs {size} bytes, but its external-data "
                f"entry says length={length}; export the model again"
            )
        buffer = self._map(path, tensor.name)
        if offset + length > len(buffer):
            raise LoadError(
                f"external data of tensor '{tensor.name}' ends at byte {offset + length}, but "
                f"'{path}' has {len(buffer)} bytes; the file is truncated or not the right one"
            )
        return path, offset, length

    def inline(self, tensor: TensorProto) -> None:
        """Replace the external data of `tensor` by a copy inside the proto."""
        tensor.raw_data = self.array(tensor).tobytes()
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT

    def sparse(self, proto: onnx.SparseTensorProto) -> onnx.SparseTensorProto:
        """Return a copy of `proto` that holds its values itself."""
        copy = onnx.SparseTensorProto()
        copy.CopyFrom(proto)
        for tensor in (copy.values, copy.indices):
            if tensor.data_location == TensorProto.EXTERNAL:
                self.inline(tensor)
        return copy

    def values(self, tensor: TensorProto) -> np.ndarray[Any, Any]:
        """Return the values of `tensor`, inline or external, as a read-only array.

        Raises LoadError where the data do not fit the shape.
        """
        shape = tuple(tensor.dims)
        if shape and min(shape) < 0:
            raise LoadError(
                f"tensor '{tensor.name}' has the negative shape {list(shape)}; the file is "
                "corrupt, export it again"
            )
        if tensor.data_location == TensorProto.EXTERNAL:
            return self.array(tensor)
        dtype, raw = _AS_STORED.get(tensor.data_type), tensor.raw_data
        if dtype is not None and len(raw) == math.prod(shape) * dtype.itemsize and raw:
            return np.frombuffer(raw, dtype).reshape(shape)
        try:
            values = np.asarray(onnx.numpy_helper.to_array(tensor))
        except Exception as error:  # to_array raises whatever its field access raises
            raise LoadError(
                f"tensor '{tensor.name}' of shape {list(tensor.dims)} holds data that does not fit "
                f"it: {error}; the file is truncated or corrupt"
            ) from error
        values.flags.writeable = False
        return values

    def _resolve(self, location: str, name: str) -> Path:
        where = f"external data of tensor '{name}' is at '{location}'"
        if self._folder is None:
            raise LoadError(
                f"{where}, but the model came without a path; pass the file's path instead"
            )
        parts = PureWindowsPath(location)  # splits at both kinds of slash
        if not location or parts.is_absolute() or parts.drive or location.startswith(("/", "\\")):
            raise LoadError(
                f"{where}, which is not a path relative to the model's folder; refused, because a "
                "model must not read files elsewhere. Move the data beside the model and save again"
            )
        if ".." in parts.parts:
            raise LoadError(
                f"{where}, which leaves the model's folder '{self._folder}'; refused, because a "
                "model must not read files elsewhere. Move the data beside the model and save again"
            )
        path = self._folder / location
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise LoadError(
                f"{where}, but '{path}' cannot be opened ({error}); put the data file beside the "
                "model"
            ) from error
        if not real.is_relative_to(self._folder.resolve()):
            raise LoadError(
                f"{where}, a symbolic link to '{real}' outside the model's folder; refused, "
                "because a model must not read files elsewhere. Copy the file instead"
            )
        if not real.is_file():
            raise LoadError(f"{where}, but '{path}' is not a regular file")
        return real

    def _map(self, path: Path, name: str) -> np.ndarray[Any, Any]:
        if path not in self._maps:
            try:
                file = self._files[path] = WeightFile(path)
                self._maps[path] = file.map(0, file.size) if file.size else np.empty(0, np.uint8)
            except OSError as error:
                raise LoadError(
                    f"external data of tensor '{name}' cannot be read from '{path}': {error}"
                ) from error
        return self._maps[path]

    @staticmethod
    def _number(entries: dict[str, str], key: str, default: int, name: str) -> int:
        text = entries.get(key, "")
        if not text:
            return default
        if not text.isdecimal() or len(text) > _MOST_DIGITS:
            raise LoadError(
                f"external-data entry {key}={text!r} of tensor '{name}' is not a number of bytes"
            )
        return int(text)


def _unpack(tensor: TensorProto, data: bytes) -> np.ndarray[Any, Any]:
    packed = TensorProto(dims=tensor.dims, data_type=tensor.data_type, raw_data=data)
    return np.asarray(onnx.numpy_helper.to_array(packed))
