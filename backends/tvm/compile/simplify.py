"""Indices of TVM's own loop nests, simplified while it is known how far loops go.

    x[(c // 64 + w) % 2, ...]  ->  x[w % 2, ...]        c < 64

A part of a loop begins at a number that is told at run time, and of that TVM knows no bounds:
divisions that are none would be left in the innermost loop, several for each element.
"""

from __future__ import annotations

from typing import Any


def simplified(kernel: Any) -> Any:
    """Return `kernel`, whose blocks have no axes of their own any more, with simple indices."""
    import tvm
    from tvm.s_tir import transform as passes

    if not _has_axes(kernel.body):
        return kernel
    steps = [passes.LowerInitBlock(), passes.ConvertBlocksToOpaque(), passes.StmtSimplify()]
    return tvm.transform.Sequential(steps)(tvm.IRModule({"main": kernel}))["main"]


def _has_axes(body: Any) -> bool:
    import tvm_ffi
    from tvm import s_tir

    found: list[Any] = []
    tvm_ffi.structural_walk(body, (s_tir.SBlock, found.append))
    return any(len(block.iter_vars) for block in found)
