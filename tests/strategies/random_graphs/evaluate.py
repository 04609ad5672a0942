"""Runs models and single nodes on ONNX Runtime without its optimizations, and without planish."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

Array = np.ndarray[Any, Any]

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def elem_type(array: Array) -> int:
    """Return the ONNX element type of `array`."""
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))


def session_of(model: onnx.ModelProto, *, shares_memory: bool = True) -> ort.InferenceSession:
    """Return a session of one thread and without optimizations; raises what the runtime raises.

    `shares_memory`: tensors of the same size, as the runtime infers it, may lie in one place.
    """
    options = ort.SessionOptions()
    options.enable_mem_reuse = shares_memory
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run_session(session: ort.InferenceSession, feeds: Mapping[str, Array]) -> dict[str, Any]:
    """Return all outputs by name; bfloat16 goes in and comes out as ml_dtypes has it."""
    outputs = session.get_outputs()
    names = [output.name for output in outputs]
    run_options = ort.RunOptions()
    run_options.log_severity_level = 4
    if not any(array.dtype == _BFLOAT16 for array in feeds.values()) and not any(
        output.type == "tensor(bfloat16)" for output in outputs
    ):
        return dict(zip(names, session.run(names, dict(feeds), run_options), strict=True))
    values = {name: _handed_over(array) for name, array in feeds.items()}
    results = session.run_with_ort_values(names, values, run_options)
    return {name: _taken(value) for name, value in zip(names, results, strict=True)}


def _handed_over(array: Array) -> ort.OrtValue:
    if array.dtype != _BFLOAT16:
        return ort.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))
    raw = np.asarray(array, order="C").view(np.uint16)
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(raw, onnx.TensorProto.BFLOAT16)


def _taken(value: ort.OrtValue) -> Any:
    if value.data_type() != "tensor(bfloat16)":
        return value.numpy()
    shape = tuple(value.shape())
    raw = ctypes.string_at(value.data_ptr(), 2 * math.prod(shape))
    return np.frombuffer(bytearray(raw), _BFLOAT16).reshape(shape)


def run_node(
    node: onnx.NodeProto,
    arrays: Mapping[str, Array],
    *,
    opset: int,
    functions: Sequence[onnx.FunctionProto] = (),
) -> dict[str, Any]:
    """Return the outputs of `node`, which reads `arrays`; raises what the runtime raises."""
    inputs = [
        helper.make_tensor_value_info(name, elem_type(array), array.shape)
        for name, array in arrays.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "one", inputs, outputs)
    imports = [helper.make_opsetid("", opset)]
    if functions:
        imports.append(helper.make_opsetid("local", 1))
    model = helper.make_model(graph, opset_imports=imports, ir_version=10, functions=functions)
    return run_session(session_of(model), arrays)
