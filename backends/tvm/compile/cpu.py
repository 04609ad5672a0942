"""The way from a graph to code for a CPU."""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs

from ....ir.core.cpu import core_numbers
from ...contract.prepare import typed_view
from ..graph.concat import ConcatPlan
from ..kernels.settings import Settings
from ..program.blocked import BlockedProgram
from ..program.emit_graph import BlockedEmitter
from ..program.lowering import GraphEmitter, ImportingEmitter
from ..runtime.built import Built
from ..spec.calls import SizedKernels
from ..spec.machine import CpuMachine, runs_here
from .build import build
from .code_cache import CodeCache
from .parts import KernelCompiler
from .toolchain import Toolchain


class CpuToolchain(Toolchain):
    """Code for `machine`, cut for so many `threads`; `cache` has what was compiled before."""

    target = "cpu"

    def __init__(
        self, machine: CpuMachine, threads: int | None, cache: CodeCache | None = None
    ) -> None:
        self.machine = machine
        self.threads: int = threads or len(core_numbers())
        self.compiler = KernelCompiler(machine, self.threads, cache)
        self.isa = machine.isa
        self.architecture = machine.architecture

    def emitter(
        self, graph: gs.Graph, settings: Settings, elsewhere: frozenset[str] = frozenset()
    ) -> GraphEmitter[Any]:
        """Return what writes `graph` in the blocked layout."""
        return BlockedEmitter(graph, self.machine, settings, elsewhere)

    def single_emitter(self, graph: gs.Graph) -> GraphEmitter[Any]:
        """Return what leaves all nodes of `graph` to TVM's importer."""
        program = BlockedProgram(
            typed_view(graph), self.machine, Settings(),
            halos={}, concats=ConcatPlan(), integers={},
        )  # fmt: skip
        return ImportingEmitter(graph, program)

    def _build(self, module: Any, single_call: bool, sized: SizedKernels | None) -> Built:
        """Compile `module`, as one call or as calls of its kernels."""
        compiler = self.compiler
        try:
            return build(
                module, self.machine, self.threads, compiler, single_call=single_call, sized=sized
            )
        except BaseException:
            compiler.stop()
            raise

    def described(self) -> dict[str, str]:
        """Return the instruction set, and what LLVM is told of it."""
        more = {"mcpu": str(self.machine.mcpu), "mattr": str(self.machine.mattr)}
        return {**super().described(), **more}

    def runs_here(self) -> bool:
        """Say whether this machine has the instruction set."""
        return runs_here(self.isa)
