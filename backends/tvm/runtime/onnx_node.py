"""Single ONNX operators that a compiled network leaves to ONNX Runtime.

A program calls the packed function `planish.onnxruntime` with a model of one node and tensors, and
gets tensors back or has them written. Its cost is that of the operator there, and a copy of
everything in and out.
"""

from __future__ import annotations

import base64
import functools
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....ir.core.errors import ExecutionError
from .threads import threads_here

if TYPE_CHECKING:
    import onnxruntime as ort

NAME, INTO = "planish.onnxruntime", "planish.onnxruntime.into"
# Metadata of a model whose operator ONNX Runtime ends the process on where a tensor is empty.
NEEDS_ELEMENTS = "needs-elements"
_failed = threading.local()


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
    """Let programs call ONNX Runtime: for new tensors, or `into` memory that they have."""
    import tvm

    tvm.register_global_func(NAME, _run, override=True)
    tvm.register_global_func(INTO, _run_into, override=True)


def take_error() -> ExecutionError | None:
    """Return what the last call of this thread failed with, once: a kernel can only say that."""
    error: ExecutionError | None = getattr(_failed, "error", None)
    _failed.error = None
    return error


def _run(model: Any, *tensors: Any) -> Any:
    """Run the node of `model`, and return one tensor or a list of them."""
    import tvm

    device = tensors[0].device if tensors else tvm.cpu()
    found = [tvm.runtime.tensor(values, device) for values in _results(str(model), tensors)]
    return found[0] if len(found) == 1 else found


def _run_into(model: Any, *tensors: Any) -> None:
    """Run the node of `model` on the first of `tensors`, and write the rest."""
    session = _session(str(model), threads_here(), os.getpid())
    count = len(session.get_inputs())
    for to, values in zip(tensors[count:], _results(str(model), tensors[:count]), strict=True):
        if tuple(to.shape) != values.shape:
            shapes = " and ".join(str(tuple(map(int, s))) for s in (values.shape, to.shape))
            raise _failure(f"a node gave the shape {shapes} was expected")
        to.copyfrom(values)


def _results(model: str, tensors: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
    # A child of a fork has none of the threads of its parent's sessions.
    session = _session(model, threads_here(), os.getpid())
    names = [value.name for value in session.get_inputs()]
    feeds = {name: t.numpy() for name, t in zip(names, tensors, strict=True)}
    if any(not values.size for values in feeds.values()):
        _check_runs_empty(session)
    try:
        found = session.run(None, feeds)
    except Exception as error:  # ONNX Runtime's own have no common base
        reason = " ".join(str(error).split())[:300]
        raise _failure(f"ONNX Runtime could not run a node: {reason}") from error
    return [np.require(values, None, "C") for values in found]


def _check_runs_empty(session: ort.InferenceSession) -> None:
    operator = session.get_modelmeta().custom_metadata_map.get(NEEDS_ELEMENTS)
    if operator:
        raise _failure(
            f"ONNX Runtime has no result for {operator} of an empty batch, an empty sequence or no "
            "features: feed what leaves at least one of each"
        )


def _failure(text: str) -> ExecutionError:
    error = _failed.error = ExecutionError(text)
    return error


@functools.lru_cache(maxsize=256)
def _session(model: str, threads: int, process: int) -> Any:
    try:
        return session_of(base64.b64decode(model), threads)
    except ImportError as error:
        raise _failure(
            "this network has operators that ONNX Runtime runs, which is not installed: "
            "pip install onnxruntime"
        ) from error
