"""Which kernels a program calls, for which nodes of the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KernelCall:
    """A call in the order of lowering: of the kernel of `op`, named `kernel`, for some `nodes`.

    `kernel` "": nodes that TVM's importer took; how many functions they become is TVM's affair.
    """

    kernel: str
    nodes: tuple[str, ...] = ()
    op: Any = None
