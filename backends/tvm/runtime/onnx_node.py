"""Single ONNX operators that a compiled network leaves to ONNX Runtime.

A program calls the packed function `planish.onnxruntime` with a model of one node and tensors, and
gets tensors back. Its cost is that of the operator there, and a copy of everything in and out.
"""

from __future__ import annotations

import base64
import functools
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ....ir.core.errors import ExecutionError
from .threads import threads_here

if TYPE_CHECKING:
    import onnxruntime as ort

NAME = "planish.onnxruntime"


def packed(model: bytes) -> str:
    """Return `model` as text, which a program can hold."""
    return base64.b64encode(model).decode("ascii")


def session_of(model: bytes, threads: int = 1) -> ort.InferenceSession:
    """Return what runs `model` as it is written; raises what ONNX Runtime does."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    # Threads that spin would take the cores from TVM's.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def register() -> None:
    """Let programs call `planish.onnxruntime(model, tensors...)`, one tensor back or several."""
    import tvm

    tvm.register_global_func(NAME, _run, override=True)


def _run(model: Any, *tensors: Any) -> Any:
    """Run the node of `model`; raises ExecutionError naming it."""
    import tvm

    # A child of a fork has none of the threads of its parent's sessions.
    session = _session(str(model), threads_here(), os.getpid())
    names = [value.name for value in session.get_inputs()]
    feeds = {name: t.numpy() for name, t in zip(names, tensors, strict=True)}
    device = tensors[0].device if tensors else tvm.cpu()
    try:
        found = session.run(None, feeds)
    except Exception as error:  # ONNX Runtime's own have no common base
        reason = " ".join(str(error).split())[:300]
        raise ExecutionError(f"ONNX Runtime could not run a node: {reason}") from error
    results = [tvm.runtime.tensor(np.ascontiguousarray(v).reshape(v.shape), device) for v in found]
    return results[0] if len(results) == 1 else results


@functools.lru_cache(maxsize=256)
def _session(model: str, threads: int, process: int) -> Any:
    try:
        return session_of(base64.b64decode(model), threads)
    except ImportError as error:
        raise ExecutionError(
            "this network has operators that ONNX Runtime runs, which is not installed: "
            "pip install onnxruntime"
        ) from error
