"""What a compiled network says of itself: what it was made for, its inputs and outputs."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tensor:
    """Name, element type and sizes of an input or output; unknown sizes are names or null."""

    name: str
    dtype: str
    shape: list[int | str | None] | None


@dataclass(frozen=True, kw_only=True)
class Header:
    """What an artifact was made for: `isa` is an instruction set, or a GPU's architecture.

    `arena`: bytes of memory that a run works in, if it is to be given them.
    """

    target: str
    isa: str
    architecture: str
    tvm: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    arena: int = 0


def header_of(graph: Any, *, target: str, isa: str, architecture: str, arena: int = 0) -> Header:
    """Return the header of `graph` compiled for a kind of target, run from `architecture`."""
    import tvm

    return Header(
        target=target,
        isa=isa,
        architecture=architecture,
        tvm=tvm.__version__,
        inputs=[_described(t) for t in graph.inputs],
        outputs=[_described(t) for t in graph.outputs],
        arena=arena,
    )


def host_architecture() -> str:
    """Return the name of this machine's instruction set family."""
    return platform.machine().lower().replace("amd64", "x86_64")


def _described(tensor: Any) -> Tensor:
    shape = tensor.shape
    sizes = None if shape is None else [d if isinstance(d, int | str) else None for d in shape]
    return Tensor(tensor.name, str(np.dtype(tensor.dtype)), sizes)
