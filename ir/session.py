"""Graph -> ONNX Runtime session, without a second copy of large weights."""

from __future__ import annotations

import onnxruntime as ort
import onnx_graphsurgeon as gs

from . import dtypes
from .errors import ExecutionError
from .to_proto import PROTOBUF_LIMIT, stored_bytes, to_proto
from .variables import dense_values

# Weights from this size on are handed over as they lie in memory; smaller ones, which shape
# inference may want to read, travel inside the model.
_BY_REFERENCE = 1 << 16


def make_session(
    graph: gs.Graph, options: ort.SessionOptions, providers: list[str]
) -> ort.InferenceSession:
    """Return an ONNX Runtime session of `graph`; raises ExecutionError with the runtime's reason.

    The session keeps references to the graph's weights, which must not change while it lives.
    """
    model, weights = to_proto(graph, leave_out=_by_reference)
    if weights:
        options.add_external_initializers(
            [constant.name for constant in weights],
            [ort.OrtValue.ortvalue_from_numpy(dense_values(c)) for c in weights],
        )
    if model.ByteSize() > PROTOBUF_LIMIT:
        raise ExecutionError(
            f"the graph without its large weights still takes {model.ByteSize()} bytes, over the "
            "2 GB that a model may have; shrink the constants inside its subgraphs"
        )
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=providers)
    except Exception as error:  # the binding raises one class per status code
        raise ExecutionError(f"ONNX Runtime refuses the graph: {reason(error)}") from error


def reason(error: Exception) -> str:
    """Return what ONNX Runtime said, on one line and without its status prefix."""
    text = " ".join(str(error).split())
    _, _, rest = text.partition(" : FAIL : ")
    return rest or text


def _by_reference(constant: gs.Constant) -> bool:
    values = dense_values(constant)
    return (
        values is not None
        and values.dtype.kind == "f"
        and dtypes.bits(values.dtype) >= 16
        and values.flags.c_contiguous
        and values.flags.aligned
        and stored_bytes(constant) >= _BY_REFERENCE
    )
