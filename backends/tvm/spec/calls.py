"""Which kernels a program calls, for which nodes of the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KernelCall:
    """A call in the order of lowering: of the kernel of `op`, named `kernel`, for some `nodes`.

    `kernel` "": nodes that TVM's importer took; how many functions they become is TVM's affair.
    `operators`: those of the nodes, or what it does for none; `shape`: that of the last result.
    """

    kernel: str
    nodes: tuple[str, ...] = ()
    op: Any = None
    operators: tuple[str, ...] = ()
    shape: tuple[int | str | None, ...] | None = None


@dataclass(frozen=True)
class SizedKernel:
    """The kernel of `op`, which is for a number of images that is known: a loop nest."""

    op: Any
    function: Any


# By the name of a kernel of any number of images, and how many it computes for one of the network;
# None where so few are not computed on their own.
SizedKernels = dict[tuple[str, int], SizedKernel | None]
