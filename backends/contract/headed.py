"""Compiled networks that the header of their artifact describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .backend import Compiled
from .port import Port

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


class Headed(Compiled):
    """A network whose `verdict` is written in its header, a dataclass, and so goes with it."""

    _header: Any

    @property
    def verdict(self) -> str:
        """What comparing with the model has found; an artifact carries it."""
        return str(self._header.verdict)

    @verdict.setter
    def verdict(self, found: str) -> None:
        self._header = replace(self._header, verdict=found)


class Ported(Headed):
    """A network whose header has its `inputs` and `outputs` as ports."""

    def __init__(self, header: Any) -> None:
        self._header = header
        self._interface = _graph(header.inputs, header.outputs)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The names, types and sizes of what it takes."""
        return tuple(self._header.inputs)

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The names, types and sizes of what it gives."""
        return tuple(self._header.outputs)

    def interface(self) -> gs.Graph:
        """Return a graph of the inputs and outputs alone."""
        return self._interface


def _graph(*sides: Sequence[Port]) -> gs.Graph:
    import onnx_graphsurgeon as gs

    return gs.Graph(
        [], *([gs.Variable(p.name, np.dtype(p.dtype), p.shape) for p in ports] for ports in sides)
    )
