"""The TVM backend: `lower(graph, backend="tvm", target="cpu{isa=avx2}")`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...ir.core.cpu import core_numbers
from ...ir.core.errors import BackendError
from ...ir.core.nearest import nearest
from ...ir.core.target import Target
from ..contract.backend import Backend
from .cuda.spec.gpu import arch_here
from .kernels.settings import Settings
from .module import Built, TvmModule
from .profile.layers import Layers
from .runtime import artifact
from .runtime.header import header_of
from .runtime.imports import without_torch
from .runtime.runner import Runner
from .spec.machine import machine_of, runs_here
from .tuning.options import NAMES as TUNING
from .tuning.options import Tuning

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

_OPTIONS = ("optimize", "winograd", *TUNING)


class Tvm(Backend):
    """Machine code for CPUs and GPUs through TVM, with kernels and layouts of planish's own."""

    name: ClassVar[str] = "tvm"
    summary: ClassVar[str] = "TVM, with kernels of planish's own in a blocked layout"

    def lower(
        self,
        graph: gs.Graph,
        target: Target,
        threads: int | None,
        *,
        optimize: bool = True,
        winograd: bool = True,
        **options: Any,
    ) -> TvmModule:
        """Return `graph` compiled.

        `optimize`: run planish's exact passes first. `winograd`: let convolutions of 3 and 5 taps
        run as Winograd's where that is faster; its rounding errors are a few times as large. The
        other options are the fields of `Tuning`, `tune_trials` first of all. The same graph,
        options and versions give the same bytes; with `tune_trials`, for the same cache.
        """
        from .compile.build import build
        from .graph.prepare import prepare
        from .program.lowering import lower_graph

        _check(target, threads)
        for name in options:
            if name not in TUNING:
                raise BackendError(f"backend 'tvm' has no option '{name}'{nearest(name, _OPTIONS)}")
        tuning = Tuning(**options)
        if target.kind == "cuda":
            if options:
                raise BackendError(
                    f"option '{next(iter(options))}' is for kernels of CPUs; leave it out for cuda"
                )
            from .cuda.lower import lower_for_gpu

            return TvmModule(lower_for_gpu(graph, target, optimize))
        machine = machine_of(target)
        threads = threads or len(core_numbers())
        prepared = prepare(graph, optimize=optimize)
        settings = Settings(winograd=winograd, threads=threads)
        lowered = lower_graph(prepared, machine, settings)
        if tuning.tune_trials is not None:
            from .tuning.tune import tune

            found = tune(lowered.kernels, machine, threads, tuning)
            settings = found.settings(settings)
            lowered = lower_graph(prepared, machine, settings)
        library, arena = build(lowered.module, machine, threads)
        header = header_of(
            graph, target="cpu", isa=machine.isa, architecture=machine.architecture, arena=arena
        )
        program = None
        if runs_here(machine.isa):
            program = Runner(header, library, lowered.constants, threads)

        def apart() -> Runner:
            single, _ = build(lowered.module, machine, threads, apart=True)
            return Runner(replace(header, arena=0), single, lowered.constants, threads)

        layers = Layers(lowered.calls, apart)
        return TvmModule(Built(header, library, lowered.constants, program, layers=layers))

    def load(self, path: str | Path, target: Target, threads: int | None) -> TvmModule:
        """Return the module that `TvmModule.save` wrote to `path`."""
        with without_torch():
            _check(target, threads)
        try:
            runner = artifact.load(path, threads)
        except artifact.ArtifactError as error:
            raise BackendError(str(error)) from error
        return TvmModule(Built(runner.header, None, runner.constants, runner, source=Path(path)))

    def targets(self) -> list[str]:
        """Return the targets that code can be generated for here and run here."""
        try:
            import tvm  # noqa: F401
        except ImportError:
            return []
        return ["cpu", "cuda"] if arch_here() else ["cpu"]


def _check(target: Target, threads: int | None) -> None:
    try:
        import tvm  # noqa: F401
    except ImportError as error:
        raise BackendError(
            "backend 'tvm' needs TVM, which is not installed: pip install 'planish[tvm]'"
        ) from error
    if target.kind not in ("cpu", "cuda"):
        hint = nearest(target.kind, ["cpu", "cuda"])
        raise BackendError(f"backend 'tvm' has no target '{target.kind}'{hint}")
    if threads is not None and threads < 1:
        raise BackendError(f"threads is {threads}; give 1 or more")
