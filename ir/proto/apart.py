"""A serialized model, and its large weights apart from it: one copy of them, not three.

A proto that is parsed holds a copy of every weight of the file, and one that is serialized is
another. So the file is read in two: what is no large weight goes to the parser, with the place of
each weight in a list instead; weights are read where they are to lie. Writing is the other way
round. The bytes are those that protobuf would write.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from ..core import dtypes
from .left_out import LEFT_OUT, left_out_at, mark_left_out
from .wire import Field, bytes_field, fields

Array = np.ndarray[Any, Any]
Weight = TypeVar("Weight")
Read = Callable[[int, np.dtype[Any], tuple[int, ...]], Weight]

# Weights of fewer bytes stay in the proto.
LARGE = 1 << 16
# The numbers of fields: of a model, of a graph, of a tensor.
_GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER
_INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER
_RAW = TensorProto.RAW_DATA_FIELD_NUMBER
_READ = frozenset(
    {
        TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16,
        TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
        TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
    }
)  # fmt: skip


def take_apart(data: memoryview, read: Read[Weight]) -> tuple[bytes, list[Weight]] | None:
    """Return a model without its large weights, and those, as its tensors say (`left_out_at`).

    `read` gives the array of a type and shape that lies in `data` from a place on. None where there
    is none, or `data` is no model that can be taken apart: the parser says what is wrong with it.
    """
    weights: list[Weight] = []
    try:
        graph = [f for f in fields(data, 0, len(data)) if f.number == _GRAPH]
        if len(graph) != 1 or not graph[0].is_bytes:
            return None
        parts = list(_without_weights(data, graph[0], weights, read))
    except (ValueError, DecodeError):
        return None
    if not weights or any(LEFT_OUT.encode() in bytes(part) for part in parts[::2]):
        return None
    inner = b"".join(parts)
    head, tail = data[: graph[0].start], data[graph[0].end :]
    return b"".join((head, bytes_field(_GRAPH, len(inner)), inner, tail)), weights


def _without_weights(
    data: memoryview, graph: Field, weights: list[Weight], read: Read[Weight]
) -> Iterator[memoryview | bytes]:
    """Yield what lies between large weights, and in turn the tensors without their values."""
    start = graph.value
    for field in fields(data, graph.value, graph.end):
        if field.number != _INITIALIZER or field.end - field.value < LARGE:
            continue
        tensor = _without_values(data, field, weights, read)
        if tensor is not None:
            yield data[start : field.start]
            yield bytes_field(_INITIALIZER, len(tensor)) + tensor
            start = field.end
    yield data[start : graph.end]


def _without_values(
    data: memoryview, tensor: Field, weights: list[Weight], read: Read[Weight]
) -> bytes | None:
    """Return a tensor of which `weights` has the values; None where they stay where they are."""
    inner = list(fields(data, tensor.value, tensor.end))
    raw = [field for field in inner if field.number == _RAW]
    if len(raw) != 1 or not raw[0].is_bytes:
        return None
    proto = TensorProto()
    rest = b"".join((data[tensor.value : raw[0].start], data[raw[0].end : tensor.end]))
    if len(rest) >= LARGE:
        return None
    proto.ParseFromString(rest)
    if proto.data_type not in _READ or proto.data_location or proto.external_data:
        return None
    dtype, shape = dtypes.numpy_dtype(proto.data_type), tuple(proto.dims)
    size = raw[0].end - raw[0].value
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size:
        return None
    values = read(raw[0].value, dtype, shape)
    proto.data_location = TensorProto.EXTERNAL
    mark_left_out(proto, len(weights))
    weights.append(values)
    return _bytes(proto)


def put_together(model: onnx.ModelProto, weights: Sequence[Array]) -> list[bytes | memoryview]:
    """Return the bytes of `model` in pieces, with `weights` for the tensors that were left out.

    `model` loses its initializers.
    """
    tensors: list[bytes | memoryview] = []
    for tensor in model.graph.initializer:
        tensors.extend(_with_values(tensor, weights))
    del model.graph.initializer[:]
    inside = _split(_bytes(model.graph), _INITIALIZER, tensors)
    model.ClearField("graph")
    size = sum(map(len, inside))
    return _split(_bytes(model), _GRAPH, [bytes_field(_GRAPH, size), *inside])


def _with_values(tensor: TensorProto, weights: Sequence[Array]) -> list[bytes | memoryview]:
    place = left_out_at(tensor)
    if place is None:
        inner: list[bytes | memoryview] = [_bytes(tensor)]
    else:
        del tensor.external_data[:]
        tensor.ClearField("data_location")
        raw = weights[place].reshape(-1).view(np.uint8).data
        inner = _split(_bytes(tensor), _RAW, [bytes_field(_RAW, len(raw)), raw])
    return [bytes_field(_INITIALIZER, sum(map(len, inner))), *inner]


def _split(
    message: bytes, number: int, inner: Sequence[bytes | memoryview]
) -> list[bytes | memoryview]:
    """Return `message` in pieces, with `inner` where the field of that number would be."""
    data, at = memoryview(message), 0
    for field in fields(data, 0, len(data)):
        if field.number > number:
            break
        at = field.end
    return [data[:at], *inner, data[at:]]


def _bytes(message: Any) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))
