"""Single values of a model file: types, dimensions and texts, each checked as it is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, TensorProto

from ..core import dtypes
from ..core.build import make_variable
from ..core.errors import LoadError
from ..core.variables import set_exotic_type
from .metadata import DataMetadata, ValueMetadata, properties

_ELEMENT_TYPES = frozenset(TensorProto.DataType.values())


def variable(info: onnx.ValueInfoProto) -> gs.Variable:
    """Return a GraphSurgeon variable of a value's name and type; a missing type stays unknown."""
    found = make_variable(info.name)
    kind = info.type.WhichOneof("value")
    if kind == "tensor_type":
        dtype, shape = element_type(info), sizes(info)
        found.dtype, found.shape = dtype, None if shape is None else list(shape)
    elif kind is not None:
        found.type = kind
        set_exotic_type(found, info.type)
    return found


def element_type(info: onnx.ValueInfoProto) -> np.dtype[Any] | None:
    """Return the element type of a value that is a tensor; None where it is missing."""
    kind = info.type.tensor_type.elem_type
    if kind not in _ELEMENT_TYPES:
        raise LoadError(
            f"value '{info.name}' is of element type {kind}, which this version of "
            "onnx does not know; update onnx, or export the model again"
        )
    return dtypes.numpy_dtype(kind) if kind else None


def sizes(info: onnx.ValueInfoProto) -> tuple[int | str | None, ...] | None:
    """Return the shape of a value that is a tensor; None where it is missing."""
    tensor = info.type.tensor_type
    return tuple(map(_dimension, tensor.shape.dim)) if tensor.HasField("shape") else None


def _dimension(dim: Any) -> int | str | None:
    size: int = dim.dim_value
    if size or dim.HasField("dim_value"):
        return size
    name = dim.dim_param
    require_text("a dimension", (name,))
    return name or None


def value_metadata(info: onnx.ValueInfoProto) -> ValueMetadata:
    """Return what a file says of a value beside its name and type."""
    axes = info.type.tensor_type.shape.dim if info.type.HasField("tensor_type") else ()
    found = ValueMetadata(
        doc_string=info.doc_string,
        properties=properties(info),
        denotation=info.type.denotation,
        axes=tuple((axis, dim.denotation) for axis, dim in enumerate(axes) if dim.denotation),
    )
    texts = (found.doc_string, found.denotation, *(text for _, text in found.axes))
    require_text(f"value '{info.name}'", (*texts, *(t for pair in found.properties for t in pair)))
    return found


def data_metadata(tensor: TensorProto) -> DataMetadata:
    """Return what a file says of a tensor beside its name and values."""
    found = DataMetadata(tensor.doc_string, properties(tensor))
    texts = (found.doc_string, *(text for pair in found.properties for text in pair))
    require_text(f"tensor '{tensor.name}'", texts)
    return found


def require_text(where: str, texts: Iterable[str]) -> None:
    """Refuse what should be text and is not UTF-8; the protobuf binding returns it as bytes."""
    for text in texts:
        if not isinstance(text, str):
            raise LoadError(
                f"{where} holds the name or text {text!r}, which is not UTF-8; the file is "
                "corrupt, export it again"
            )


def text_or_proto(data: bytes, whole: AttributeProto) -> Any:
    """Return a string attribute as text, or, where it is none, a copy of the whole attribute."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return copy_attribute(whole)


def copy_attribute(proto: AttributeProto) -> AttributeProto:
    """Return a copy of `proto`, which shares nothing with its model."""
    copy = AttributeProto()
    copy.CopyFrom(proto)
    return copy
