"""What a proto says of values: types, weights and the documentation beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from onnx import TensorProto

from ..core import dtypes
from ..core.errors import GraphError
from ..core.variables import dense_values, exotic_type
from .metadata import Pairs, ValueMetadata, tensor_metadata

PROTOBUF_LIMIT = 2**31 - 1
_NO_METADATA = ValueMetadata()


def value_info(tensor: gs.Tensor, *, output: bool = False) -> onnx.ValueInfoProto:
    """Return name, type and metadata of `tensor`, as far as they are known.

    `output`: the metadata that it has as an output of its graph, if that is another entry.
    """
    info = onnx.ValueInfoProto(name=tensor.name)
    _add_type(tensor, info)
    metadata = tensor_metadata(tensor)
    _add_metadata(metadata.output if output else metadata.value, info)
    return info


def _add_metadata(metadata: ValueMetadata, info: onnx.ValueInfoProto) -> None:
    if metadata.doc_string:
        info.doc_string = metadata.doc_string
    add_properties(info, metadata.properties)
    if metadata.denotation:
        info.type.denotation = metadata.denotation
    dims = info.type.tensor_type.shape.dim if metadata.axes else ()
    for axis, text in metadata.axes:
        if axis < len(dims):
            dims[axis].denotation = text


def _add_type(tensor: gs.Tensor, info: onnx.ValueInfoProto) -> None:
    exotic = exotic_type(tensor)
    if exotic is not None:
        info.type.CopyFrom(exotic)
        return
    if tensor.dtype is not None:
        write_type(tensor.dtype, tensor.shape, info.type)


def write_type(dtype: Any, shape: Sequence[int | str | None] | None, proto: onnx.TypeProto) -> None:
    """Write the type of a tensor into `proto`, which is empty; no shape where that is None."""
    kind = proto.tensor_type
    kind.elem_type = dtypes.elem_type(dtype)
    if shape is None:
        return
    kind.shape.SetInParent()
    for size in shape:
        dim = kind.shape.dim.add()
        if isinstance(size, str):
            dim.dim_param = size
        elif size is not None and size >= 0:
            dim.dim_value = int(size)


def is_described(tensor: gs.Tensor) -> bool:
    """Say whether there is anything to write about an inner value."""
    if not tensor.name:
        return False
    known = tensor.dtype is not None or exotic_type(tensor) is not None
    return known or tensor_metadata(tensor).value != _NO_METADATA


def write_tensor(constant: gs.Constant, proto: TensorProto) -> None:
    """Write the values of a dense `constant` into `proto`; strings and sub-byte types included."""
    values = dense_values(constant)
    if values is None:
        raise GraphError(f"constant '{constant.name}' holds {type(constant._values).__name__}")
    if values.dtype.kind in "fiub" and values.dtype.itemsize * values.size < PROTOBUF_LIMIT:
        proto.name, proto.data_type = constant.name, dtypes.elem_type(values.dtype)
        proto.dims.extend(values.shape)
        proto.raw_data = values.tobytes()
    else:
        proto.CopyFrom(onnx.numpy_helper.from_array(values, constant.name))
    add_data_metadata(constant, proto)


def add_data_metadata(constant: gs.Constant, proto: TensorProto) -> None:
    """Write what is kept with the values of `constant`: documentation and properties."""
    metadata = tensor_metadata(constant).data
    if metadata.doc_string:
        proto.doc_string = metadata.doc_string
    add_properties(proto, metadata.properties)


def stored_bytes(constant: gs.Constant) -> int:
    """Return how many bytes the values of `constant` take in a file."""
    return dtypes.byte_size(math.prod(constant.shape), constant.dtype)


def add_properties(proto: Any, pairs: Pairs) -> None:
    """Append `pairs` to the properties of a proto."""
    for key, value in pairs:
        proto.metadata_props.add(key=key, value=value)
