"""A network that TVM compiled: called, timed layer by layer, or saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.core.atomic import replacing
from ...ir.core.errors import BackendError, SaveError
from ..contract.backend import Arrays, Compiled
from ..contract.layer_times import LayerTimes, usual_seconds
from .profile.layers import Layers
from .runtime import artifact
from .runtime.feed_check import check_feeds
from .runtime.header import Header
from .runtime.runner import NO_GPU, Runner
from .spec.machine import MACHINES

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


@dataclass(frozen=True)
class Built:
    """A library, the packed weights it is called with, and what runs them, where it can run here.

    `device`: kernels of a GPU. `layers`: what is known of single kernels. `source`: the artifact
    that it was loaded from.
    """

    header: Header
    library: Any
    constants: list[np.ndarray[Any, Any]]
    runner: Runner | None = None
    device: bytes = b""
    layers: Layers | None = None
    source: Path | None = None


class TvmModule(Compiled):
    """A compiled graph."""

    def __init__(self, built: Built) -> None:
        self._built = built
        self._header = built.header

    def __call__(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """Run once: name -> array in, name -> array out. Raises FeedError or ExecutionError."""
        runner = self._runs()
        check_feeds(feeds, self._header)
        return runner(feeds)

    def time_layers(
        self, feeds: Mapping[str, np.ndarray[Any, Any]], *, rounds: int = 20
    ) -> LayerTimes:
        """Return the times of the kernels in a run, and what the machine can do at most."""
        from .profile.layers import time_layers
        from .profile.peak import measure_peaks

        self._runs()
        layers = self._built.layers
        if layers is None:
            raise BackendError(
                f"{self._name()} does not say which layers its kernels are; lower the model itself "
                "for a CPU for times of single layers"
            )
        self(feeds)
        whole = usual_seconds(lambda: self(feeds), rounds)
        runner = layers.apart()
        found, rest = time_layers(runner.machine, partial(runner, feeds), layers.calls, rounds)
        peaks = measure_peaks(MACHINES[self._header.isa], runner.threads)
        return LayerTimes(tuple(found), peaks, rest, whole)

    def interface(self) -> gs.Graph:
        """Return a graph of the inputs and outputs alone, as the header has them."""
        import onnx_graphsurgeon as gs

        sides = [
            [gs.Variable(t.name, np.dtype(t.dtype), t.shape) for t in tensors]
            for tensors in (self._header.inputs, self._header.outputs)
        ]
        return gs.Graph([], *sides)

    def save(self, path: str | Path) -> None:
        """Write one file with the library and the weights, which loads without compiling."""
        path, built = Path(path), self._built
        try:
            with replacing(path) as file:
                if built.source is not None:
                    file.write(built.source.read_bytes())
                else:
                    artifact.write(file, self._header, built.library, built.constants, built.device)
        except OSError as error:
            raise SaveError(f"cannot write '{path}': {error.strerror or error}") from error

    def _runs(self) -> Runner:
        if self._built.runner is not None:
            return self._built.runner
        if self._header.target == "cuda":
            raise BackendError(f"this is code for arch '{self._header.isa}', and {NO_GPU}")
        raise BackendError(
            f"this is code for isa '{self._header.isa}', which this machine does not have; save it "
            "and run it there"
        )

    def _name(self) -> str:
        return f"'{self._built.source}'" if self._built.source else "code for a GPU"
