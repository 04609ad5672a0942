"""Session options and execution providers of ONNX Runtime, by target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import onnxruntime as ort

from ...ir.core.errors import BackendError
from ...ir.core.nearest import nearest
from ...ir.core.target import Target
from ..contract.threads import require_threads

Optimization = Literal["all", "extended", "basic", "none"]

LEVELS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
# Each target's own execution provider first, then what takes over operators it has no kernel for.
PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}
_INSTALL = {
    "cuda": "install the CUDA build: pip install onnxruntime-gpu",
    "tensorrt": "install the CUDA build, pip install onnxruntime-gpu, and TensorRT",
}


def session_options(threads: int | None, level: ort.GraphOptimizationLevel) -> ort.SessionOptions:
    """Return options with `threads` for one operator and this level of the runtime's own passes."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = level
    # Idle threads would spin for up to 80 ms after a run, on the cores that others work on.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    require_threads(threads)
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def providers_for(target: Target, asked: Sequence[str] | None) -> list[str]:
    """Return the execution providers of `target`, or those asked for; raises BackendError."""
    if target.kind not in PROVIDERS:
        raise BackendError(
            f"backend 'onnxruntime' has no target '{target.kind}'{nearest(target.kind, PROVIDERS)}"
        )
    available = ort.get_available_providers()
    order = list(asked) if asked is not None else PROVIDERS[target.kind]
    required = order if asked is not None else order[:1]
    for provider in required:
        if provider not in available:
            hint = _INSTALL.get(target.kind, f"choose among {', '.join(available)}")
            raise BackendError(f"this build of ONNX Runtime has no {provider}; {hint}")
    return [provider for provider in order if provider in available]
