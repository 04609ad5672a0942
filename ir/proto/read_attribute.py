"""AttributeProto -> an attribute as GraphSurgeon holds it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, TensorProto
from onnx_graphsurgeon.util.misc import convert_from_onnx_attr_type

from ..core.variables import EmptyList
from .tensor_data import TensorData
from .values import copy_attribute, require_text, text_or_proto

# The field that holds the value of an attribute, by its kind; a list has no element where it is
# empty. IR version 1 left the kind out.
_FIELDS = {
    AttributeProto.FLOATS: "floats",
    AttributeProto.INTS: "ints",
    AttributeProto.STRINGS: "strings",
    AttributeProto.TENSORS: "tensors",
    AttributeProto.GRAPHS: "graphs",
    AttributeProto.SPARSE_TENSORS: "sparse_tensors",
    AttributeProto.TYPE_PROTOS: "type_protos",
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.STRING: "s",
    AttributeProto.TENSOR: "t",
    AttributeProto.GRAPH: "g",
    AttributeProto.SPARSE_TENSOR: "sparse_tensor",
    AttributeProto.TYPE_PROTO: "tp",
}
_LISTS = frozenset(list(_FIELDS)[:7])


def read_attribute(
    proto: AttributeProto,
    data: TensorData,
    constant: Callable[[TensorProto], gs.Constant],
    graph: Callable[[onnx.GraphProto], gs.Graph],
) -> Any:
    """Return the Python value; a kind GraphSurgeon has no value for stays an AttributeProto."""
    require_text("an attribute", (proto.name, proto.ref_attr_name))
    if proto.ref_attr_name:
        return gs.Node.AttributeRef(proto.ref_attr_name, convert_from_onnx_attr_type(proto.type))
    kind = _kind(proto)
    if is_empty(proto):
        return EmptyList(kind)
    match kind:
        case AttributeProto.FLOAT:
            return proto.f
        case AttributeProto.INT:
            return proto.i
        case AttributeProto.STRING:
            return text_or_proto(proto.s, proto)
        case AttributeProto.FLOATS:
            return list(proto.floats)
        case AttributeProto.INTS:
            return list(proto.ints)
        case AttributeProto.STRINGS:
            texts = [text_or_proto(item, proto) for item in proto.strings]
            return proto if proto in texts else texts
        case AttributeProto.TENSOR:
            return constant(proto.t)
        case AttributeProto.GRAPH:
            return graph(proto.g)
    copy = copy_attribute(proto)
    if kind == AttributeProto.SPARSE_TENSOR:
        copy.sparse_tensor.CopyFrom(data.sparse(proto.sparse_tensor))
    for tensor in copy.tensors:
        if tensor.data_location == TensorProto.EXTERNAL:
            data.inline(tensor)
    return copy


def _kind(proto: AttributeProto) -> int:
    """Return the kind of an attribute; where it is not stated, that of the value it holds."""
    if proto.type != AttributeProto.UNDEFINED:
        return int(proto.type)
    present = {field.name for field, _ in proto.ListFields()}
    return next((kind for kind, name in _FIELDS.items() if name in present), 0)


def is_empty(proto: AttributeProto) -> bool:
    """Say whether `proto` is a list without elements; a reference to an attribute is none."""
    if proto.type not in _LISTS or proto.ref_attr_name:
        return False
    return not getattr(proto, _FIELDS[proto.type])


@functools.lru_cache(maxsize=1024)
def is_optional_list(op: str, opset: int, name: str) -> bool:
    """Say whether an attribute may be left out, and stands for no list of its own then.

    Where it may, the kernels of ONNX Runtime read an empty list as none: axes of a reduction or of
    Squeeze, pads, strides and dilations, activations of a recurrent layer.
    """
    if not onnx.defs.has(op, opset, ""):
        return False
    declared = onnx.defs.get_schema(op, opset, "").attributes.get(name)
    if declared is None or declared.required:
        return False
    return bool(declared.default_value.type == AttributeProto.UNDEFINED)
