"""The contract of backends: lower a graph for a target, and run the result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, SupportsIndex

import numpy as np

from ...ir.core.errors import BackendError, BackendOptionError
from ...ir.core.nearest import nearest
from ...ir.core.shown import Shown, Summary
from ...ir.core.target import Target
from .layer_times import LayerTimes
from .port import Port, ports_line

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

Arrays = dict[str, np.ndarray[Any, Any]]


class Compiled(Shown, ABC):
    """A graph made ready to run: a dict of arrays in, a dict of arrays out.

    `verdict`: what comparing it with its graph has found, empty where it was not compared.
    `backend`: the text of the backend that gives the same again, where another has chosen it.
    """

    verdict: str = ""
    backend: str = ""

    @property
    def precision(self) -> str:
        """What floats are computed in: `float32`, or what an option asked for."""
        return "float32"

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The names, types and sizes of what it takes; empty where it does not say."""
        return ()

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The names, types and sizes of what it gives; empty where it does not say."""
        return ()

    def _summary(self) -> Summary:
        told = [ports_line(self.inputs, self.outputs)] if self.inputs or self.outputs else []
        rows = [
            (side, port.name, str(port).removeprefix(f"{port.name} "))
            for side, ports in (("input", self.inputs), ("output", self.outputs))
            for port in ports
        ]
        line = "; ".join([*told, *filter(None, [self.verdict])])
        return Summary(line or "network", rows)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know of how it was made and what it needs."""
        return ()

    @abstractmethod
    def __call__(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """Run once. Raises FeedError where a feed does not fit, ExecutionError where it fails."""

    def kernels_of(self, node: str | None) -> tuple[str, ...]:
        """Return what computes a node of that name, or where it is None the last one of all.

        Empty where that is not known.
        """
        return ()

    def recipe(self) -> str:
        """Return Python code that runs the graph likewise without planish; "" for none."""
        return ""

    def interface(self) -> gs.Graph | None:
        """Return a graph that has at least the inputs; None where what `save` wrote is a model."""
        return None

    def time_layers(
        self, feeds: Mapping[str, np.ndarray[Any, Any]], *, rounds: int = 20
    ) -> LayerTimes:
        """Return the times of single layers in a run. Raises BackendError where it has none."""
        raise BackendError(
            f"{type(self).__name__} cannot tell its layers apart; backends 'tvm' and 'onnxruntime' "
            "can"
        )

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write what the backend's `load` reads, atomically. Raises SaveError."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse `pickle` and `copy`: runtimes hold code and threads of one process."""
        raise BackendError(
            f"a compiled network ({type(self).__name__}) is neither pickled nor copied; write it "
            "with `save`, and have each process or copy call `planish.load_compiled` on the file"
        )


class Backend(ABC):
    """A way to run graphs, registered under `name`."""

    name: ClassVar[str]
    summary: ClassVar[str]
    # The options that its targets take; None: only `lower` knows.
    target_options: ClassVar[tuple[str, ...] | None] = None
    # Whether `lower` runs what it makes, and is handed `feeds` and `seed` for that.
    measures: ClassVar[bool] = False
    # Options of `lower` with values, beside the default, that may be faster and compute the same:
    # `auto` measures them one after the other, and keeps those that are.
    tunable: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    @classmethod
    def refuse_options(cls, unknown: Iterable[str], known: Iterable[str]) -> None:
        """Raise BackendOptionError for the first of `unknown`, with the nearest of `known`."""
        for name in unknown:
            raise BackendOptionError(
                f"backend '{cls.name}' has no option '{name}'{nearest(name, known)}"
            )

    def refuse_other_than_cpu(self, target: Target) -> None:
        """Raise BackendError for another target, unknown options of it, or what is lacking here."""
        if target.kind != "cpu":
            raise BackendError(f"backend '{self.name}' has no target '{target.kind}'; it has cpu")
        target.known_options(self.target_options or ())
        reason = self.lacking().get("cpu")
        if reason is not None:
            raise BackendError(reason)

    @abstractmethod
    def lower(
        self, graph: gs.Graph, target: Target, threads: int | None, **options: Any
    ) -> Compiled:
        """Return `graph`, which is left untouched, made ready for `target`.

        `threads`: threads for one operator, None for the backend's own choice. Raises BackendError
        where the target is not available here or an option is unknown.
        """

    @abstractmethod
    def load(self, path: str | Path, target: Target, threads: int | None) -> Compiled:
        """Return what `Compiled.save` wrote. Raises BackendError naming the file.

        The file may be gone once this has returned.
        """

    def wrote(self, path: str | Path) -> bool:
        """Say whether the file at `path` begins as `Compiled.save` makes it begin, and no other's.

        False where that cannot be told, or there is no such file.
        """
        return False

    def describe(self, path: str | Path) -> list[str] | None:
        """Return what a file that `Compiled.save` wrote says of itself, in lines.

        Nothing of it is run. None where it is no such file, or one that `planish inspect` reads as
        a model. Raises BackendError where it is damaged.
        """
        return None

    @abstractmethod
    def targets(self) -> list[str]:
        """Return the targets that this machine has for the backend."""

    def lacking(self) -> dict[str, str]:
        """Return the targets that the backend could have and this machine has not, each with why.

        And what to do about it. Empty where that is not known.
        """
        return {}
