"""The part of a library that helpers run, and by which the runtime lets it join a pool.

A library that no pool was given for runs its parallel loops on TVM's own threads; where a system
has no `futex`, it has nothing of this.
"""

from __future__ import annotations

from typing import Any

from ..runtime.pool_memory import JOIN, SERVE, STOP_POOL
from ..spec.machine import CpuMachine
from .futex import yield_of
from .loop_code import loops
from .pointer_kernels import EXPORTED, MARK
from .pool_code import serving


def has_pool(machine: CpuMachine) -> bool:
    """Say whether code for `machine` can run on a pool of helpers."""
    return yield_of(machine) is None


def with_pool(module: Any, machine: CpuMachine) -> Any:
    """Return `module` with the functions of a pool, where `machine` can have one."""
    if not has_pool(machine):
        return module
    of_loops = loops(machine)
    for name, (parameters, code) in {
        SERVE: (["int64", "int32"], serving(machine)),
        STOP_POOL: (["int64"], serving(machine)),
        JOIN: (["int64"], of_loops),
        "planish_tasks": (["uint8*", "int32", "int64", "int64", "int64"], of_loops),
        "planish_launch": (["uint8*", "uint8*", "int32"], of_loops),
    }.items():
        private = {} if name in (SERVE, STOP_POOL, JOIN) else {MARK: True, EXPORTED: True}
        callee = f"planish_pool_{name.removeprefix('planish_')}"
        module[name] = _calling(name, parameters, callee, code, private)
    return module


def _calling(
    name: str, parameters: list[str], callee: str, code: str, attrs: dict[str, bool]
) -> Any:
    """Return the function `name`, which calls `callee` of `code`; where that is not 0, it fails."""
    from tvm import ir, tirx
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script.builder import ir as script

    def kind(of: str) -> Any:
        return script.ptr(of[:-1]) if of.endswith("*") else getattr(script, of)()

    with IRBuilder() as builder, script.prim_func(s_tir=True):
        script.func_name(name)
        script.func_attr({"tirx.is_scheduled": True, **attrs})
        script.func_ret(ir.PrimType("int32"))
        given = [script.arg(f"n{index}", kind(of)) for index, of in enumerate(parameters)]
        with script.attr(tirx.const(0, "int32"), "pragma_import_llvm", code):
            failed = script.Bind(tirx.call_extern("int32", callee, *given))
            with script.Assert(failed == 0, "a parallel loop could not run"):
                pass
    function = builder.get()
    return function if attrs else function.with_attr("global_symbol", name)
