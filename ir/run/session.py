"""Graph -> ONNX Runtime session, without a second copy of large weights."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort

from ..core import dtypes
from ..core.errors import ExecutionError
from ..core.in_native_code import in_native_code
from ..core.variables import dense_values
from ..proto.to_proto import to_proto
from ..proto.write_values import PROTOBUF_LIMIT, stored_bytes, value_info
from .ending import ending_after, has_loops
from .fatal import refuse_fatal
from .open_session import open_session

# Weights from this size on are handed over as they lie in memory; smaller ones, which shape
# inference may want to read, travel inside the model.
_BY_REFERENCE = 1 << 16
# From so many bytes on, a session that does not optimize is fed weights: it reads inputs where they
# lie, and copies initializers while it is made, for good where kernels pack them.
_FED = 1 << 27
_UNOPTIMIZED = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
# Element types without a numpy form in the runtime's own API, and what it calls them.
_VIEWED = ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
_RUNTIME_NAMES = {f"tensor({name.replace('_', '')})": name for name in _VIEWED}


def make_session(
    graph: gs.Graph, options: ort.SessionOptions, providers: list[str], *, share: bool = False
) -> ort.InferenceSession:
    """Return an ONNX Runtime session of `graph`; raises ExecutionError with the runtime's reason.

    The session keeps references to the graph's weights, which must not change while it lives.
    `share`: large ones are read where they lie, if the session does not optimize; else the runtime
    may copy them.
    """
    refuse_fatal(graph)
    model, weights = to_proto(graph, leave_out=_by_reference)
    # Where the optimizer moves a Transpose over an initializer, kernels would read what was shared.
    share = share and options.graph_optimization_level == _UNOPTIMIZED
    if share and sum(map(stored_bytes, weights)) >= _FED:
        fed = _fed_session(model, weights, options, providers)
        if fed is not None:
            fed.has_loops = has_loops(graph)
            return fed
        model, weights = to_proto(graph, leave_out=_by_reference)
    values = {c.name: ort.OrtValue.ortvalue_from_numpy(dense_values(c)) for c in weights}
    if values:
        options.add_external_initializers(list(values), list(values.values()))
    for name, value in values.items() if share else ():
        options.add_initializer(name, value)
    if model.ByteSize() > PROTOBUF_LIMIT:
        raise ExecutionError(
            f"the graph without its large weights still takes {model.ByteSize()} bytes, over the "
            "2 GB that a model may have; shrink the constants inside its subgraphs"
        )
    try:
        session = open_session(model.SerializeToString(), options, providers)
    except Exception as error:  # the binding raises one class per status code
        raise ExecutionError(f"ONNX Runtime refuses the graph: {reason(error)}") from error
    session.shared_weights = values  # the runtime has their addresses only
    session.has_loops = has_loops(graph)
    return session


def _fed_session(
    model: onnx.ModelProto,
    weights: Sequence[gs.Constant],
    options: ort.SessionOptions,
    providers: list[str],
) -> ort.InferenceSession | None:
    """Return a session of `model` whose `weights` are inputs, which `run_session` feeds.

    None where one has to be constant to its kernel. `model` is changed.
    """
    if model.ByteSize() > PROTOBUF_LIMIT:
        return None
    values = {c.name: dense_values(c) for c in weights}
    small = [t for t in model.graph.initializer if t.name not in values]
    listed = {port.name for port in model.graph.input}
    model.graph.input.extend(value_info(c) for c in weights if c.name not in listed)
    del model.graph.initializer[:]
    model.graph.initializer.extend(small)
    try:
        session = open_session(model.SerializeToString(), options, providers)
    except Exception:  # the binding raises one class per status code; said of the usual session
        return None
    session.fed_weights = values
    return session


def output_types(session: ort.InferenceSession) -> dict[str, str]:
    """Return what the runtime calls the type of each output; asked once, not at every run."""
    return {output.name: output.type for output in session.get_outputs()}


def run_session(
    session: ort.InferenceSession,
    outputs: Mapping[str, str],
    feeds: Mapping[str, np.ndarray[Any, Any]],
    seconds: float | None = None,
) -> dict[str, Any]:
    """Run `session` once and return `outputs` (names with types, as `output_types` gives them).

    Element types that numpy lacks (bfloat16, float8) go in and come out as those of ml_dtypes.
    `seconds`: how long it may take where the graph has a Loop. Raises ExecutionError with the
    runtime's reason.
    """
    names = list(outputs)
    feeds = {**getattr(session, "fed_weights", {}), **feeds}
    limit = seconds if getattr(session, "has_loops", False) else None
    with in_native_code, ending_after(limit) as options:
        try:
            if not any(array.dtype.name in _VIEWED for array in feeds.values()) and not any(
                kind in _RUNTIME_NAMES for kind in outputs.values()
            ):
                # All outputs, where no name is given.
                found = session.run(names, feeds, options)
                return dict(zip(names, found, strict=bool(names)))
            values = {name: _to_runtime(array) for name, array in feeds.items()}
            results = session.run_with_ort_values(names, values, options)
            return {name: _from_runtime(value) for name, value in zip(names, results, strict=True)}
        except Exception as error:  # the binding raises one class per status code
            if options is not None and options.terminate:
                raise ExecutionError(
                    f"a Loop did not end within {seconds:g} seconds; give feeds for which it has "
                    "fewer trips"
                ) from error
            raise ExecutionError(f"ONNX Runtime failed while running: {reason(error)}") from error


def _to_runtime(array: np.ndarray[Any, Any]) -> ort.OrtValue:
    array = np.asarray(array, order="C")
    if array.dtype.name in _VIEWED:
        raw = array.view(np.uint16 if array.dtype.itemsize == 2 else np.uint8)
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(raw, dtypes.elem_type(array.dtype))
    return ort.OrtValue.ortvalue_from_numpy(array)


def _from_runtime(value: ort.OrtValue) -> Any:
    name = _RUNTIME_NAMES.get(value.data_type())
    if name is None:
        return value.numpy()
    # The binding has no numpy form of these types, so their bytes are copied.
    dtype, shape = np.dtype(getattr(ml_dtypes, name)), tuple(value.shape())
    raw = ctypes.string_at(value.data_ptr(), math.prod(shape) * dtype.itemsize)
    return np.frombuffer(bytearray(raw), dtype).reshape(shape)


def reason(error: Exception) -> str:
    """Return what ONNX Runtime said, on one line and without its status prefix."""
    text = " ".join(str(error).split())
    _, _, rest = text.partition(" : FAIL : ")
    return (rest or text).removeprefix("Fatal error: ")


def _by_reference(constant: gs.Constant) -> bool:
    values = dense_values(constant)
    return (
        values is not None
        and values.nbytes >= _BY_REFERENCE
        and values.dtype.kind == "f"
        and dtypes.bits(values.dtype) >= 16
        and values.flags.c_contiguous
        and values.flags.aligned
    )
