"""The TVM backend: `lower(graph, backend="tvm", target="cpu{isa=avx2}")`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...ir.core.environment import is_off, named_place
from ...ir.core.errors import BackendError, BackendOptionError
from ...ir.core.nearest import nearest
from ...ir.core.target import Target
from ..contract.backend import Backend
from ..contract.threads import require_threads
from .compiled import TvmModule
from .cuda.spec.gpu import arch_here, gpu_of
from .kernels.settings import Settings
from .profile.layers import LayerCalls
from .runtime import artifact
from .runtime.header import default_values, header_of, lines_of
from .runtime.imports import without_torch
from .runtime.runner import Runner
from .spec.machine import MACHINES, machine_of
from .tuning.cache import default_path
from .tuning.options import NAMES as TUNING
from .tuning.options import Tuning

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from .check.network import CheckedNetwork
    from .compile.toolchain import Toolchain
    from .program.lowering import Lowered

_CODE_VARIABLE = "PLANISH_CODE_CACHE"
_OPTIONS = ("optimize", "winograd", "check_kernels", "cache_code", "strict", *TUNING)


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
        check_kernels: bool = True,
        cache_code: bool = True,
        strict: bool | None = None,
        **options: Any,
    ) -> TvmModule:
        """Return `graph` compiled.

        `optimize`: run planish's exact passes first. `winograd`: let convolutions of 3 and 5 taps
        run as Winograd's where that is faster; its rounding errors are a few times as large.
        `check_kernels`: compare every kernel once, on its own, with what it is to compute, where
        code for `target` runs here; what was found right before is not compared again. Where one is
        wrong, a WrongKernelWarning says so, and ONNX Runtime runs its nodes. `cache_code`: take
        machine code of a CPU's kernels that was made before, by any process, and keep what is made
        now, in the folder that PLANISH_CODE_CACHE names (`off`: nowhere), else among the user's
        caches. `strict`: a mistake of planish's own is raised; else a warning says it, and ONNX
        Runtime runs the node. By default the environment variable PLANISH_STRICT decides, as in
        passes. The other options are the fields of `Tuning`, `tune_trials` first of all. The same
        graph, options and versions give the same bytes; with `tune_trials`, for the same cache.
        """
        from ...passes.pipeline.pipeline import strict_by_default
        from ..contract.prepare import prepare
        from .check.network import build_network
        from .program.suggest import sizes_suggested

        _check(target, threads)
        tuning = _tuning(options, target)
        toolchain = _toolchain(target, threads, cache_code=cache_code)
        settings = Settings(winograd=winograd, threads=toolchain.threads or 1)
        strict = strict_by_default() if strict is None else strict
        prepared = prepare(graph, optimize=optimize, strict=strict)
        with sizes_suggested(graph):
            found = build_network(
                prepared,
                lambda elsewhere: _lowered(prepared, toolchain, settings, tuning, elsewhere),
                toolchain,
                settings,
                check=check_kernels,
                strict=strict,
            )
        return _compiled(graph, found, toolchain)

    def load(self, path: str | Path, target: Target, threads: int | None) -> TvmModule:
        """Return the module that `TvmModule.save` wrote to `path`."""
        with without_torch():
            _check(target, threads)
        try:
            runner, data = artifact.load(path, threads)
        except artifact.ArtifactError as error:
            raise BackendError(str(error)) from error
        _require_trust(path, runner.header.isa)
        return TvmModule(
            runner.header, runner, lambda file, _: artifact.copy(file, data), source=Path(path)
        )

    def wrote(self, path: str | Path) -> bool:
        """Say whether the file at `path` begins as an artifact of any version does."""
        return artifact.SEAL.is_on(path)

    def describe(self, path: str | Path) -> list[str] | None:
        """Return what the header of an artifact says; nothing of the artifact is run."""
        if not artifact.SEAL.is_on(path):
            return None
        try:
            return lines_of(artifact.describe(path))
        except artifact.ArtifactError as error:
            raise BackendError(str(error)) from error

    def targets(self) -> list[str]:
        """Return the targets that code can be generated for here and run here."""
        try:
            import tvm  # noqa: F401
        except ImportError:
            return []
        return ["cpu", "cuda"] if arch_here() else ["cpu"]

    def lacking(self) -> dict[str, str]:
        """Return what TVM, or the machine, has not."""
        try:
            import tvm  # noqa: F401
        except ImportError as error:
            return {"cpu": f"TVM cannot be imported ({error}); pip install 'planish[tvm]'"}
        return {} if arch_here() else {"cuda": "no GPU of NVIDIA is found"}


def _toolchain(target: Target, threads: int | None, *, cache_code: bool) -> Toolchain:
    if target.kind == "cuda":
        from .cuda.compile.gpu import GpuToolchain

        return GpuToolchain(gpu_of(target))
    from .check.matrix_unit import is_trusted
    from .compile.code_cache import CodeCache
    from .compile.cpu import CpuToolchain

    machine = machine_of(target)
    if not is_trusted(machine):
        machine = machine_of(target)
    folder = _code_folder() if cache_code else None
    cache = None if folder is None else CodeCache(folder)
    return CpuToolchain(machine, threads, cache)


def _require_trust(path: str | Path, isa: str) -> None:
    """Raise BackendError where code for `isa` would rely on a matrix unit that computes wrong."""
    machine = MACHINES.get(isa)
    if machine is None or not machine.has("amx_tile"):
        return
    from .check.matrix_unit import fault_of, is_trusted

    if not is_trusted(machine):
        raise BackendError(
            f"'{path}' is code for isa '{isa}' and {fault_of(machine)}; lower the model again for "
            "target 'cpu{isa=avx512-bf16}'"
        )


def _code_folder() -> Path | None:
    """Return where machine code of kernels is kept: beside measurements, unless it is said."""
    if is_off(_CODE_VARIABLE):
        return None
    return named_place(_CODE_VARIABLE) or Path(f"{default_path()}.code")


def _lowered(
    graph: gs.Graph,
    toolchain: Toolchain,
    settings: Settings,
    tuning: Tuning,
    elsewhere: frozenset[str],
) -> Lowered:
    """Return the program of a prepared `graph`, with the kernels that measure best if asked."""
    from .compile.cpu import CpuToolchain
    from .program.lowering import lower_graph

    lowered = lower_graph(toolchain.emitter(graph, settings, elsewhere))
    if tuning.tune_trials is None or not isinstance(toolchain, CpuToolchain):
        return lowered
    from .tuning.tune import tune

    found = tune(lowered.kernels, toolchain.machine, toolchain.threads, tuning)
    return lower_graph(toolchain.emitter(graph, found.settings(settings), elsewhere))


def _compiled(graph: gs.Graph, network: CheckedNetwork, toolchain: Toolchain) -> TvmModule:
    """Return what runs `network`, which is `graph`, where that is possible here."""
    lowered, built = network.lowered, network.built
    header = header_of(
        graph,
        target=toolchain.target,
        isa=toolchain.isa,
        architecture=toolchain.architecture,
        arena=built.arena,
        kernels=network.kernels,
        elsewhere=built.elsewhere,
    )
    constants, threads = [*lowered.constants, *default_values(graph)], toolchain.threads

    def watchable() -> Runner:
        calls = toolchain.build(lowered.module, single_call=False)
        return Runner(replace(header, arena=0), calls, constants, threads)

    return TvmModule(
        header,
        Runner(header, built, constants, threads) if toolchain.runs_here() else None,
        lambda file, header: artifact.write(file, header, built, constants),
        layers=LayerCalls(lowered.calls, watchable) if toolchain.target == "cpu" else None,
    )


def _tuning(options: dict[str, Any], target: Target) -> Tuning:
    """Return what `options` say about tuning; raises BackendOptionError."""
    for name in options:
        if name not in TUNING:
            raise BackendOptionError(
                f"backend 'tvm' has no option '{name}'{nearest(name, _OPTIONS)}"
            )
        if target.kind == "cuda":
            raise BackendOptionError(
                f"option '{name}' is for kernels of CPUs; leave it out for cuda"
            )
    return Tuning(**options)


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
    require_threads(threads)
