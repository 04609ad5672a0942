"""The way from a graph to code, the same for every device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ..kernels.settings import Settings
from ..program.lowering import GraphEmitter
from ..runtime.built import Built


class Toolchain(ABC):
    """What takes graphs to code for one device.

    `isa`: an instruction set, or a GPU's architecture. `architecture`: that of the host. `threads`:
    how many of its threads the work is cut for, None where it is not.
    """

    target: ClassVar[str]
    isa: str
    architecture: str
    threads: int | None = None

    @abstractmethod
    def emitter(self, graph: gs.Graph, settings: Settings) -> GraphEmitter[Any]:
        """Return what writes a prepared `graph` as a program."""

    @abstractmethod
    def build(self, module: Any, *, single_call: bool = True) -> Built:
        """Compile a program; without `single_call` each kernel can be watched, on CPUs."""

    @abstractmethod
    def runs_here(self) -> bool:
        """Say whether this machine runs the code."""
