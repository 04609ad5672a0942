"""Inputs and outputs of a graph, which a pass must keep as they are."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.errors import PassError


@dataclass(frozen=True)
class InterfacePort:
    """A graph input or output: which of them, name, element type, and an input's shape."""

    kind: str
    name: str
    dtype: int | None
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        """Write it as error messages have it."""
        sizes = "" if self.shape is None else str(list(self.shape))
        return f"{self.kind} '{self.name}' ({dtypes.type_name(self.dtype)}{sizes})"


def read_interface(graph: gs.Graph) -> list[InterfacePort]:
    """Return the inputs and then the outputs of `graph`."""
    found = []
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for t in tensors:
            dtype = None if t.dtype is None else dtypes.elem_type(t.dtype)
            shape = tuple(t.shape) if kind == "input" and t.shape is not None else None
            found.append(InterfacePort(kind, t.name, dtype, shape))
    return found


def check_interface(before: list[InterfacePort], graph: gs.Graph) -> None:
    """Raise PassError where names, order, types or input shapes differ from `before`."""
    for was, now in itertools.zip_longest(before, read_interface(graph)):
        if was != now:
            raise PassError(
                f"the interface has changed from {was or 'nothing'} to {now or 'nothing'}; a pass "
                "must keep the graph's inputs and outputs as they are"
            )
