"""A network that TVM compiled: called, timed layer by layer, or saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ...ir.core.atomic import replacing
from ...ir.core.errors import BackendError, SaveError
from ..contract.backend import Arrays
from ..contract.headed import Headed
from ..contract.layer_times import LayerTimes, usual_seconds
from ..contract.port import Port
from .profile.layers import LayerCalls, kernels_of
from .runtime.feed_check import check_feeds
from .runtime.header import Header, Tensor, remarks_of
from .runtime.runner import NO_GPU, Runner
from .spec.machine import MACHINES

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


Write = Callable[[IO[bytes], Header], object]


class TvmModule(Headed):
    """A compiled graph, which says of itself what `header` does.

    `runner` runs it, where that can be done here; `write` writes an artifact with a header.
    `layers`: what is known of single kernels. `source`: the artifact that it was loaded from.
    """

    _header: Header

    def __init__(
        self,
        header: Header,
        runner: Runner | None,
        write: Write,
        *,
        layers: LayerCalls | None = None,
        source: Path | None = None,
    ) -> None:
        self._header = header
        self._runner = runner
        self._write = write
        self._layers = layers
        self._source = source

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The names, types and sizes of what it takes, without what has a value by default."""
        known = {} if self._runner is None else self._runner.defaults
        return _ports([tensor for tensor in self._header.inputs if tensor.name not in known])

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The names, types and sizes of what it gives."""
        return _ports(self._header.outputs)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was found of single kernels, and which nodes ONNX Runtime runs."""
        return remarks_of(self._header)

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
        layers = self._known_layers()
        self(feeds)
        whole = usual_seconds(lambda: self(feeds), rounds)
        runner = self.calls_apart()
        found, rest = time_layers(runner.machine, partial(runner, feeds), layers.calls, rounds)
        multiplied = {layer.dtype for layer in found if layer.multiply_adds}
        peaks = measure_peaks(MACHINES[self._header.isa], runner.threads, multiplied)
        return LayerTimes(tuple(found), peaks, rest, whole)

    def calls_apart(self) -> Runner:
        """Return what runs the kernels as calls of their own, each of which can be watched."""
        return self._known_layers().watchable()

    def kernels_of(self, node: str | None) -> tuple[str, ...]:
        """Return the kernels that compute a node, and what each computes."""
        return () if self._layers is None else kernels_of(self._layers.calls, node)

    def interface(self) -> gs.Graph:
        """Return a graph of the inputs and outputs alone, as the header has them."""
        import onnx_graphsurgeon as gs

        sides = [
            [self._described(t) for t in tensors]
            for tensors in (self._header.inputs, self._header.outputs)
        ]
        return gs.Graph([], *sides)

    def _described(self, tensor: Tensor) -> gs.Tensor:
        import onnx_graphsurgeon as gs

        default = None if self._runner is None else self._runner.defaults.get(tensor.name)
        if default is not None:
            return gs.Constant(tensor.name, default)
        return gs.Variable(tensor.name, np.dtype(tensor.dtype), tensor.shape)

    def save(self, path: str | Path) -> None:
        """Write one file with the library and the weights, which loads without compiling."""
        path = Path(path)
        try:
            with replacing(path) as file:
                self._write(file, self._header)
        except OSError as error:
            raise SaveError(
                f"cannot write '{error.filename or path}': {error.strerror or error}; nothing was "
                "left behind"
            ) from error

    def _runs(self) -> Runner:
        if self._runner is not None:
            return self._runner
        if self._header.target == "cuda":
            raise BackendError(f"this is code for arch '{self._header.isa}', and {NO_GPU}")
        raise BackendError(
            f"this is code for isa '{self._header.isa}', which this machine does not have; save it "
            "and run it there"
        )

    def _known_layers(self) -> LayerCalls:
        if self._layers is None:
            raise BackendError(
                f"{self._name()} does not say which layers its kernels are; lower the model itself "
                "for a CPU for times of single layers"
            )
        return self._layers

    def _name(self) -> str:
        return f"'{self._source}'" if self._source else "code for a GPU"


def _ports(tensors: Sequence[Tensor]) -> tuple[Port, ...]:
    return tuple(
        Port(t.name, t.dtype, None if t.shape is None else tuple(t.shape)) for t in tensors
    )
