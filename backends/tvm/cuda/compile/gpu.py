"""The way from a graph to code for a GPU. Compiling needs nvcc; only running needs a GPU."""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs

from ...compile.toolchain import Toolchain
from ...kernels.settings import Settings
from ...program.lowering import GraphEmitter
from ...runtime.built import Built
from ...runtime.header import host_architecture
from ..program.emit_graph import ChannelsLastEmitter
from ..spec.gpu import Gpu, arch_here
from .build import build


class GpuToolchain(Toolchain):
    """Code for `gpu` and a host like this one."""

    target = "cuda"

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.isa = gpu.arch
        self.architecture = host_architecture()

    def emitter(
        self, graph: gs.Graph, settings: Settings, elsewhere: frozenset[str] = frozenset()
    ) -> GraphEmitter[Any]:
        """Return what writes `graph` channels last; `settings` are those of CPUs."""
        return ChannelsLastEmitter(graph, elsewhere)

    def single_emitter(self, graph: gs.Graph) -> GraphEmitter[Any]:
        """Return what writes the nodes of `graph`: every node here is one."""
        return ChannelsLastEmitter(graph, inside=True)

    def _build(self, module: Any, single_call: bool, sized: object) -> Built:
        """Compile `module`, every kernel a call; raises BackendError without a compiler."""
        return build(module, self.gpu)

    def runs_here(self) -> bool:
        """Say whether there is a GPU that is as new."""
        here = arch_here()
        return here is not None and int(here.removeprefix("sm_")) >= int(self.gpu.number)
