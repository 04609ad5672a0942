"""The TVM backend: `lower(graph, backend="tvm", target="cpu{isa=avx2}")`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...ir.atomic import replacing
from ...ir.errors import BackendError, SaveError
from ...ir.nearest import nearest
from ..contract import Arrays, Backend, Compiled
from ..layer_times import LayerTimes, usual_seconds
from ..target import Target
from . import artifact
from .feed_check import check_feeds
from .layers import Layers
from .machine import MACHINES, cores, machine_of, runs_here
from .settings import Settings
from .tuning.options import NAMES as TUNING
from .tuning.options import Tuning

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

_OPTIONS = ("optimize", "winograd", *TUNING)


class Tvm(Backend):
    """Machine code for CPUs through TVM, with kernels and layouts of planish's own."""

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
        from .build import build
        from .lowering import lower_graph, prepare

        _check(target, threads)
        for name in options:
            if name not in TUNING:
                raise BackendError(f"backend 'tvm' has no option '{name}'{nearest(name, _OPTIONS)}")
        tuning = Tuning(**options)
        machine = machine_of(target)
        threads = threads or cores()
        prepared = prepare(graph, optimize=optimize)
        settings = Settings(winograd=winograd, threads=threads)
        lowered = lower_graph(prepared, machine, settings)
        if tuning.tune_trials is not None:
            from .tuning.tune import tune

            found = tune(lowered.kernels, machine, threads, tuning)
            settings = found.settings(settings)
            lowered = lower_graph(prepared, machine, settings)
        library = build(lowered.module, machine, threads)
        header = artifact.header(graph, machine)
        program = None
        if runs_here(machine.isa):
            program = artifact.Runner(header, library, lowered.constants, threads)

        def apart() -> artifact.Runner:
            single = build(lowered.module, machine, threads, apart=True)
            return artifact.Runner(header, single, lowered.constants, threads)

        layers = Layers(lowered.calls, apart)
        return TvmModule(graph, header, library, lowered.constants, program, layers=layers)

    def load(self, path: str | Path, target: Target, threads: int | None) -> TvmModule:
        """Return the module that `TvmModule.save` wrote to `path`."""
        with artifact.without_torch():
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
        return ["cpu"]


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
        layers: Layers | None = None,
    ) -> None:
        self._graph = graph
        self._header = header
        self._library = library
        self._constants = constants
        self._runner = runner
        self._source = source
        self._layers = layers

    def __call__(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """Run once: name -> array in, name -> array out. Raises FeedError or ExecutionError."""
        runner = self._runs()
        check_feeds(feeds, self._header)
        return runner(feeds)

    def time_layers(
        self, feeds: Mapping[str, np.ndarray[Any, Any]], *, rounds: int = 20
    ) -> LayerTimes:
        """Return the times of the kernels in a run, and what the machine can do at most."""
        from .layers import time_layers
        from .peak import measure_peaks

        self._runs()
        if self._layers is None:
            raise BackendError(
                f"'{self._source}' does not say which layers its kernels are; lower the model "
                "itself for times of single layers"
            )
        self(feeds)
        whole = usual_seconds(lambda: self(feeds), rounds)
        runner = self._layers.apart()
        run = partial(runner, feeds)
        layers, rest = time_layers(runner.machine, run, self._layers.calls, rounds)
        peaks = measure_peaks(MACHINES[self._header.isa], runner.threads)
        return LayerTimes(tuple(layers), peaks, rest, whole)

    def interface(self) -> gs.Graph:
        """Return a graph of the inputs and outputs alone, as the header has them."""
        import onnx_graphsurgeon as gs

        sides = [
            [gs.Variable(t.name, np.dtype(t.dtype), t.shape) for t in tensors]
            for tensors in (self._header.inputs, self._header.outputs)
        ]
        return gs.Graph([], *sides)

    def _runs(self) -> artifact.Runner:
        if self._runner is None:
            raise BackendError(
                f"this is code for isa '{self._header.isa}', which this machine does not have; "
                "save it and run it there"
            )
        return self._runner

    def save(self, path: str | Path) -> None:
        """Write one file with the library and the weights, which loads without compiling."""
        path = Path(path)
        try:
            with replacing(path) as file:
                if self._source is not None:
                    file.write(self._source.read_bytes())
                else:
                    artifact.write(file, self._header, self._library, self._constants)
        except OSError as error:
            raise SaveError(f"cannot write '{path}': {error.strerror or error}") from error


def _check(target: Target, threads: int | None) -> None:
    try:
        import tvm  # noqa: F401
    except ImportError as error:
        raise BackendError(
            "backend 'tvm' needs TVM, which is not installed: pip install 'planish[tvm]'"
        ) from error
    if target.kind == "cuda":
        raise BackendError(
            "backend 'tvm' generates code for CPUs so far; lower for target 'cpu', or for 'cuda' "
            "with backend 'onnxruntime'"
        )
    if target.kind != "cpu":
        hint = nearest(target.kind, ["cpu"])
        raise BackendError(f"backend 'tvm' has no target '{target.kind}'{hint}")
    if threads is not None and threads < 1:
        raise BackendError(f"threads is {threads}; give 1 or more")
