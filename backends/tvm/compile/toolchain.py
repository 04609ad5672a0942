"""The way from a graph to code, the same for every device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ....ir.core.errors import BackendError
from ..kernels.settings import Settings
from ..program.lowering import GraphEmitter
from ..runtime.built import Built
from ..spec.calls import SizedKernels


class UncompiledError(BackendError):
    """TVM did not compile a program that was written for it."""


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
    def emitter(
        self, graph: gs.Graph, settings: Settings, elsewhere: frozenset[str] = frozenset()
    ) -> GraphEmitter[Any]:
        """Return what writes a prepared `graph` as a program.

        `elsewhere`: results of nodes that ONNX Runtime is to run.
        """

    @abstractmethod
    def single_emitter(self, graph: gs.Graph) -> GraphEmitter[Any]:
        """Return what writes the nodes of `graph` as it writes `Lowered.singles` of a network."""

    def build(
        self, module: Any, *, single_call: bool = True, sized: SizedKernels | None = None
    ) -> Built:
        """Compile a program; without `single_call` each kernel can be watched, on CPUs.

        `sized`: what its kernels of any number of images are for one image.

        Raises BackendError, of the kind UncompiledError where TVM fails.
        """
        try:
            return self._build(module, single_call, sized)
        except BackendError:
            raise
        except Exception as error:  # TVM fails in any way
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise UncompiledError(f"backend 'tvm' cannot compile this network: {reason}") from error

    @abstractmethod
    def _build(self, module: Any, single_call: bool, sized: SizedKernels | None) -> Built:
        """Compile a program; raises what TVM does."""

    def described(self) -> dict[str, str]:
        """Return what code of one program differs by, beside the number of threads."""
        return {"target": self.target, "isa": self.isa}

    @abstractmethod
    def runs_here(self) -> bool:
        """Say whether this machine runs the code."""
