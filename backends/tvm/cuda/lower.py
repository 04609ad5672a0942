"""What `lower` does for target 'cuda'. Compiling needs nvcc; only running needs a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_graphsurgeon as gs

from ....ir.errors import BackendError
from ....passes.registry import nearest
from ...target import Target
from .. import artifact
from ..lowering import prepare
from .build import build
from .gpu import arch_here, gpu_of
from .lowering import lower_graph

LIBRARIES = ("auto", "none", "cudnn")


def lower_for_gpu(
    graph: gs.Graph, target: Target, optimize: bool, libraries: str
) -> tuple[gs.Graph, artifact.Header, Any, list[Any], artifact.Runner | None, Path | None, bytes]:
    """Return what a TvmModule is made of: `graph` compiled for the GPU that `target` names.

    Raises BackendError where there is no compiler, and for unknown architectures and options.
    """
    gpu = gpu_of(target)
    _check_libraries(libraries)
    lowered = lower_graph(prepare(graph, optimize=optimize))
    built = build(lowered.module, gpu)
    header = artifact.header_for(graph, "cuda", gpu.arch, artifact.host_architecture())
    runner = None
    here = arch_here()
    if here is not None and int(here.removeprefix("sm_")) >= int(gpu.number):
        if built.device:
            artifact.attach(built.library, built.device)
        runner = artifact.Runner(header, built.library, lowered.constants, None)
    return graph, header, built.library, lowered.constants, runner, None, built.device


def _check_libraries(libraries: str) -> None:
    """Refuse a library that TVM cannot call. "auto" means none where TVM has none."""
    if libraries not in LIBRARIES:
        raise BackendError(
            f"option 'libraries' is '{libraries}'{nearest(libraries, LIBRARIES)}; it takes "
            f"{', '.join(LIBRARIES)}"
        )
    if libraries == "cudnn":
        raise BackendError(
            "libraries='cudnn' needs a TVM that was built with cuDNN and cuBLAS, and a lowering to "
            "them, which backend 'tvm' does not have; use libraries='none', or backend "
            "'onnxruntime'"
        )
