"""One kernel on its own, to be measured."""

from __future__ import annotations

from typing import Any

from ..spec.machine import CpuMachine


def compile_kernel(kernel: Any, machine: CpuMachine, threads: int) -> Any:
    """Return `kernel`, a TIR function, as a module whose function is called `main`."""
    import tvm

    module = tvm.IRModule({"main": kernel.with_attr("global_symbol", "main")})
    return tvm.compile(module, target=tvm.target.Target(machine.llvm(threads))).mod
