"""A Relax program to machine code."""

from __future__ import annotations

from typing import Any

from .artifact import use_threads
from .machine import Machine
from .schedules.generic import schedule_generic


def build(module: Any, machine: Machine, threads: int) -> Any:
    """Compile `module`: TVM fuses and plans memory; what has no schedule is given one."""
    import tvm
    from tvm import relax

    use_threads(threads)  # constants are folded by running
    target = tvm.target.Target(machine.llvm(threads))
    passes = relax.transform
    with target, tvm.transform.PassContext(opt_level=3):
        module = tvm.transform.Sequential(
            [
                passes.LegalizeOps(),
                passes.AnnotateTIROpPattern(),
                passes.FoldConstant(),
                passes.FuseOps(),
                passes.FuseTIR(),
                passes.DeadCodeElimination(),
            ]
        )(module)
        module = schedule_generic(module)
        return tvm.compile(
            module, target=target, relax_pipeline=relax.get_pipeline("default_build")
        )
