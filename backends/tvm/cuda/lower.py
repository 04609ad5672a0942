"""What `lower` does for target 'cuda'. Compiling needs nvcc; only running needs a GPU."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.core.target import Target
from ..graph.prepare import prepare
from ..module import Built
from ..runtime import artifact
from ..runtime.header import header_of, host_architecture
from ..runtime.runner import Runner
from .compile.build import build
from .program.lowering import lower_graph
from .spec.gpu import arch_here, gpu_of


def lower_for_gpu(graph: gs.Graph, target: Target, optimize: bool) -> Built:
    """Return `graph` compiled for the GPU that `target` names.

    Raises BackendError where there is no compiler, and for unknown architectures.
    """
    gpu = gpu_of(target)
    lowered = lower_graph(prepare(graph, optimize=optimize))
    built = build(lowered.module, gpu)
    header = header_of(graph, target="cuda", isa=gpu.arch, architecture=host_architecture())
    runner = None
    here = arch_here()
    if here is not None and int(here.removeprefix("sm_")) >= int(gpu.number):
        if built.device:
            artifact.attach(built.library, built.device)
        runner = Runner(header, built.library, lowered.constants, None)
    return Built(header, built.library, lowered.constants, runner, built.device)
