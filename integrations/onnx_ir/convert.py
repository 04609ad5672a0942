"""Models of onnx_ir <-> graphs: structure goes through a proto, weights stay where they are."""

from __future__ import annotations

import onnx_graphsurgeon as gs
import onnx_ir as ir
from onnx_graphsurgeon.ir.tensor import SparseValues

from ...ir.core.errors import ConversionError
from ...ir.files.detached import attach, detach
from ...ir.graph.uses import scopes
from ...ir.proto.left_out import LEFT_OUT
from .tensors import Tensors, each_tensor, is_array


def to_graph(model: ir.Model, tensors: Tensors | None = None) -> gs.Graph:
    """Return `model`, which is left untouched, as a graph over the same weights.

    External tensors are mapped and lazy ones computed, once; both go back as they were where
    `to_ir` is given the same `tensors`. Raises ConversionError where the model cannot be copied
    or a tensor not be read, LoadError where it is malformed.
    """
    known = Tensors() if tensors is None else tensors
    weights = []

    def left_out(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        if not is_array(tensor):
            return tensor
        weights.append(known.array(tensor))
        return ir.ExternalTensor(
            LEFT_OUT,
            len(weights) - 1,
            None,
            tensor.dtype,
            shape=ir.Shape(tensor.shape),
            name=tensor.name or "",
            doc_string=tensor.doc_string,
            metadata_props=dict(tensor.metadata_props),
        )

    try:
        copy = model.clone()
        each_tensor(copy, left_out)
        proto = ir.to_proto(copy)
    except ConversionError:
        raise
    except Exception as error:  # onnx_ir raises one kind within another
        raise ConversionError(
            f"the onnx_ir model cannot be copied: {_first(error)}; its nodes must be in "
            "topological order and every tensor have a value"
        ) from error
    return attach(proto, weights, "the onnx_ir model")


def to_ir(graph: gs.Graph, tensors: Tensors | None = None) -> ir.Model:
    """Return `graph`, which is left untouched, as a model of onnx_ir over the same weights.

    Raises ConversionError for sparse weights, which onnx_ir does not hold.
    """
    known = Tensors() if tensors is None else tensors
    _refuse_sparse(graph)
    proto, weights = detach(graph)
    model = ir.from_proto(proto)

    def back(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        if isinstance(tensor, ir.ExternalTensor) and tensor.location == LEFT_OUT:
            return known.tensor(weights[tensor.offset or 0], tensor)
        return tensor

    each_tensor(model, back)
    return model


def _refuse_sparse(graph: gs.Graph) -> None:
    for owner in (graph, *graph.functions):
        for scope in scopes(owner):
            for node in scope.nodes:
                for tensor in node.inputs:
                    if isinstance(tensor, gs.Constant) and isinstance(tensor._values, SparseValues):
                        raise ConversionError(
                            f"constant '{tensor.name}' is sparse, which onnx_ir does not hold; "
                            "make it dense"
                        )


def _first(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).partition("\n")[0]
