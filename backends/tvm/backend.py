"""The TVM backend: `lower(graph, backend="tvm", target="cpu{isa=avx2}")`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.errors import BackendError, SaveError
from ...ir.feeds import check_feeds
from ...ir.save import replacing
from ...passes.registry import nearest
from ..contract import Arrays, Backend, Compiled
from ..target import Target
from . import artifact
from .cuda.gpu import arch_here
from .machine import cores, machine_of, runs_here

_OPTIONS = ("optimize",)


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
        **unknown: Any,
    ) -> TvmModule:
        """Return `graph` compiled. `optimize`: run planish's exact passes first."""
        from .build import build
        from .lowering import lower_graph, prepare

        _check(target, threads)
        if unknown:
            name = next(iter(unknown))
            raise BackendError(f"backend 'tvm' has no option '{name}'{nearest(name, _OPTIONS)}")
        if target.kind == "cuda":
            from .cuda.lower import lower_for_gpu

            return TvmModule(*lower_for_gpu(graph, target, optimize))
        machine = machine_of(target)
        threads = threads or cores()
        lowered = lower_graph(prepare(graph, optimize=optimize), machine)
        library = build(lowered.module, machine, threads)
        header = artifact.header(graph, machine)
        program = None
        if runs_here(machine.isa):
            program = artifact.Runner(header, library, lowered.constants, threads)
        return TvmModule(graph, header, library, lowered.constants, program)

    def load(self, path: str | Path, target: Target, threads: int | None) -> TvmModule:
        """Return the module that `TvmModule.save` wrote to `path`."""
        _check(target, threads)
        try:
            runner = artifact.load(path, threads)
        except artifact.ArtifactError as error:
            raise BackendError(str(error)) from error
        return TvmModule(None, runner.header, None, runner.constants, runner, Path(path))

    def targets(self) -> list[str]:
        """Return the targets that code can be generated for here and run here."""
        try:
            import tvm  # noqa: F401
        except ImportError:
            return []
        return ["cpu", "cuda"] if arch_here() else ["cpu"]


class TvmModule(Compiled):
    """A compiled graph: a library, and the packed weights it is called with."""

    def __init__(
        self,
        graph: gs.Graph | None,
        header: artifact.Header,
        library: Any,
        constants: list[np.ndarray[Any, Any]],
        runner: artifact.Runner | None,
        source: Path | None = None,
        device: bytes = b"",
    ) -> None:
        self._graph = graph
        self._header = header
        self._library = library
        self._constants = constants
        self._runner = runner
        self._source = source
        self._device = device

    def __call__(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """Run once: name -> array in, name -> array out. Raises FeedError or ExecutionError."""
        if self._runner is None and self._header.target == "cuda":
            raise BackendError(f"this is code for arch '{self._header.isa}', and {artifact.NO_GPU}")
        if self._runner is None:
            raise BackendError(
                f"this is code for isa '{self._header.isa}', which this machine does not have; "
                "save it and run it there"
            )
        if self._graph is not None:
            check_feeds(feeds, self._graph)
        return self._runner(feeds)

    def save(self, path: str | Path) -> None:
        """Write one file with the library and the weights, which loads without compiling."""
        path = Path(path)
        try:
            with replacing(path) as file:
                if self._source is not None:
                    file.write(self._source.read_bytes())
                else:
                    artifact.write(file, self._header, self._library, self._constants, self._device)
        except OSError as error:
            raise SaveError(f"cannot write '{path}': {error.strerror or error}") from error


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
