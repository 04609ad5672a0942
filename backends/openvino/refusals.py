"""What OpenVINO would compute in another type than the graph says, and refuses to convert."""

from __future__ import annotations

import re
from collections.abc import Iterator

import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.errors import BackendError
from ...ir.core.variables import label
from ...ir.graph.types import Types
from ...ir.ops.traits.lookup import traits_of
from ...ir.ops.traits.model import Integers

_WIDER = {"float64": "float32", "uint64": "int32"}
# Results of these come out as bytes, or saturate otherwise.
_SMALL = ("int2", "uint2", "int4", "uint4", "float4", "float8")
_BYTES = frozenset({"int8", "uint8", "int16", "uint16"})
_LACKING = re.compile(r"No conversion rule found for operations: ([^\n]*)")


def refuse_other_types(graph: gs.Graph, types: Types) -> None:
    """Raise BackendError naming the first tensor that OpenVINO's CPU plugin narrows or saturates.

    It computes float64 in float32 and uint64 in int32, and sums of bytes saturate where ONNX's wrap
    around.
    """
    for tensor in graph.inputs:
        if types.of(tensor) is None:
            raise BackendError(
                f"OpenVINO takes tensors, and input '{tensor.name}' has no element type; lower it "
                "to 'onnxruntime'"
            )
        _refuse_wider(f"input '{tensor.name}'", tensor, types)
    for node, tensor in _results(graph):
        _refuse_wider(f"node {label(node)}", tensor, types)
        found = types.of(tensor)
        name = None if found is None else dtypes.type_name(found.dtype)
        if name in _BYTES and _wraps(node, graph.opset, types):
            raise BackendError(
                f"OpenVINO saturates {name} where ONNX wraps around, at node {label(node)}; "
                "lower it to 'onnxruntime', or Cast to int32 in front of it"
            )


def _wraps(node: gs.Node, opset: int, types: Types) -> bool:
    """Say whether integers may leave their range at `node`; for floats ONNX leaves that open."""
    read = types.of(node.inputs[0]) if node.inputs else None
    if read is not None and dtypes.is_float(read.dtype):
        return False
    return traits_of(node, opset).integers in (Integers.WRAP, Integers.OVERFLOW)


def has_halves(graph: gs.Graph, types: Types) -> bool:
    """Say whether a node of `graph` gives floats of 16 bits."""
    found = (types.of(tensor) for _, tensor in _results(graph))
    return any(each is not None and dtypes.is_half(each.dtype) for each in found)


def refusal_of(graph: gs.Graph, error: Exception) -> BackendError:
    """Return what OpenVINO's `error` while reading `graph` means, naming a node where it does."""
    text = str(error)
    lacking = _LACKING.search(text)
    names = set() if lacking is None else {_operator(n) for n in lacking[1].split(",")}
    node = next((node for node, _ in _results(graph) if node.op in names), None)
    if node is not None:
        return BackendError(
            f"OpenVINO has no {node.op}, at node {label(node)}; lower it to 'onnxruntime' or 'tvm'"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return BackendError(
        f"OpenVINO refuses the graph: {' '.join(told or lines)[:400]}; lower it to 'onnxruntime'"
    )


def _operator(named: str) -> str:
    """Return the operator that OpenVINO calls `Det-20` or `com.example.Bar-1`."""
    return named.strip().rpartition("-")[0].rpartition(".")[2]


def _results(graph: gs.Graph) -> Iterator[tuple[gs.Node, gs.Tensor]]:
    for node in graph.nodes:
        for tensor in node.outputs:
            yield node, tensor


def _refuse_wider(where: str, tensor: gs.Tensor, types: Types) -> None:
    found = types.of(tensor)
    name = "" if found is None else dtypes.type_name(found.dtype)
    if name in _WIDER:
        raise BackendError(
            f"OpenVINO computes {name} in {_WIDER[name]}, at {where}; lower it to "
            "'onnxruntime', or make the graph float32 first"
        )
    if name.startswith(_SMALL):
        raise BackendError(
            f"OpenVINO gives no {name} here, at {where}; lower it to 'onnxruntime', or make it int8"
        )
    if name == "string":
        raise BackendError(f"OpenVINO takes no strings here, at {where}; lower to 'onnxruntime'")
