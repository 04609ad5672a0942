"""A network on the backend that was the fastest."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract.backend import Arrays, Compiled
from ..contract.layer_times import LayerTimes
from ..contract.packed import pack
from ..contract.port import Port
from .artifact import SEAL
from .choice import RuntimeChoice

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


class Chosen(Compiled):
    """`network`, which the backend of `choice` made; `again` makes it again, from its graph."""

    def __init__(
        self, network: Compiled, choice: RuntimeChoice, again: Callable[[], Compiled] | None = None
    ) -> None:
        self.network = network
        self.choice = choice
        self.backend = choice.backend
        self._again = again

    @property
    def precision(self) -> str:
        """What floats are computed in."""
        return self.network.precision

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The names, types and sizes of what it takes."""
        return self.network.inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The names, types and sizes of what it gives."""
        return self.network.outputs

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was chosen, and among what; then what its backend says."""
        return (*self.choice.lines(), *self.network.remarks)

    def __call__(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """Run once: name -> array in, name -> array out. Raises FeedError or ExecutionError."""
        return self.network(feeds)

    def recipe(self) -> str:
        """Return Python code that runs the graph likewise without planish, or ""."""
        return self._whole().recipe() if self.network.recipe() else ""

    def interface(self) -> gs.Graph | None:
        """Return a graph that has at least the inputs."""
        if (found := self.network.interface()) is not None:
            return found
        from ...ir.files.load import load

        with tempfile.TemporaryDirectory(prefix="planish-") as folder:
            self.network.save(Path(folder) / "network")
            return load(Path(folder) / "network")

    def time_layers(
        self, feeds: Mapping[str, np.ndarray[Any, Any]], *, rounds: int = 20
    ) -> LayerTimes:
        """Return the times of single layers in a run, of the network that is lowered for that."""
        return self._whole().time_layers(feeds, rounds=rounds)

    def kernels_of(self, node: str | None) -> tuple[str, ...]:
        """Return what computes a node of that name, or where it is None the last one of all."""
        return self.network.kernels_of(node)

    def save(self, path: str | Path) -> None:
        """Write one file that holds the choice, its table, and the network."""
        header = {"choice": self.choice.as_json(), "verdict": self.verdict}
        pack(path, SEAL, header, self.network)

    def _whole(self) -> Compiled:
        """Return the network as lowering gives it: what was loaded knows less of itself."""
        if self._again is not None:
            self.network, self._again = self._again(), None
        return self.network
