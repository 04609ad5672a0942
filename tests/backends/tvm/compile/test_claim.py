"""What threads tell each other, as machine code and as they run."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest

from planish.backends.tvm.compile.claim import Claims
from planish.backends.tvm.compile.pointer_kernels import MARK, register_pipeline
from planish.backends.tvm.compile.pool import with_pool
from planish.backends.tvm.compile.team import Team, Work
from planish.backends.tvm.runtime.pool import join, run_with_helpers
from planish.backends.tvm.runtime.pool_memory import SERVE
from planish.backends.tvm.runtime.threads import use_pool
from planish.backends.tvm.spec.machine import MACHINES, host_isa

pytest.importorskip("tvm")

# A claim, a sum, a sum that is read with what was before it, and the system's call to sleep.
ATOMIC = {
    "avx2": (r"lock\s+cmpxchgq", r"lock\s+xaddq", r"\bpause\b", r"\bsyscall\b"),
    "neon": (r"\bcasx?\b|\bstxr\b", r"\bldaddal\b|\bstlxr\b", r"\bldap?r\b", r"\bsvc\b"),
}


def code_of(isa: str) -> str:
    import tvm

    module = tvm.IRModule()
    Claims(MACHINES[isa], 4, module)
    with_pool(module, MACHINES[isa])
    target = tvm.target.Target(MACHINES[isa].llvm(4))
    with target:
        pipeline = register_pipeline(apart=True)
        return str(tvm.tirx.build(module, target=target, pipeline=pipeline).inspect_source("asm"))


@pytest.mark.parametrize("isa", ATOMIC)
def test_claims_are_atomic_instructions(isa) -> None:
    code = code_of(isa)
    for pattern in ATOMIC[isa]:
        assert re.search(pattern, code), pattern


@pytest.mark.parametrize(
    ("system", "yields"), [("Darwin", "sched_yield"), ("Windows", "SwitchToThread")]
)
def test_other_systems_are_not_asked_as_linux_is(system, yields, monkeypatch) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    code = code_of("avx2")
    assert yields in code
    assert "syscall" not in code
    assert SERVE not in code


def program(parts: list[int], shares: int):
    """Return a function (seen, behind, state): stages of `parts`, each of which needs all before.

    `seen` counts how often a part is done, `behind` how many parts of the stage before it were; the
    first one's, how many of the last stage were when the run was over.
    """
    import tvm
    from tvm import ir, tirx
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script.builder import ir as script

    machine, most = MACHINES[host_isa()], max(parts)
    module = tvm.IRModule()
    claims = Claims(machine, shares, module)
    for stage in range(len(parts)):
        with IRBuilder() as builder, script.prim_func(s_tir=True):
            script.func_name(f"stage_{stage}")
            script.func_attr({"tirx.is_scheduled": True, MARK: True})
            script.func_ret(ir.PrimType("int32"))
            pointers = [script.arg(name, script.ptr("int32")) for name in ("seen", "behind")]
            first, last = (script.arg(name, script.int32()) for name in ("first", "last"))
            seen, behind = (
                script.decl_buffer((len(parts), most), "int32", data=p) for p in pointers
            )
            with script.serial(0, last - first) as turn:
                script.buffer_store(seen, seen[stage, first + turn] + 1, [stage, first + turn])
                with script.serial(0, parts[stage - 1] if stage else 0) as other:
                    value = behind[stage, first + turn] + seen[stage - 1, other]
                    script.buffer_store(behind, value, [stage, first + turn])
        module[f"stage_{stage}"] = builder.get()
    with IRBuilder() as builder, script.prim_func(s_tir=True):
        script.func_name("main")
        script.func_attr({"tirx.is_scheduled": True, "global_symbol": "main"})
        seen, behind = (
            script.arg(n, script.buffer((len(parts), most), "int32")) for n in ("seen", "behind")
        )
        memory = script.arg("state", script.buffer((claims.size,), "uint8"))
        state, *given = (
            script.Bind(tirx.address_of(one)) for one in (memory[0], seen[0, 0], behind[0, 0])
        )

        def call(stage: int):
            callee = module.get_global_var(f"stage_{stage}")
            return lambda *part: ir.Call(callee, [*given, *part], ret_ty=ir.PrimType("int32"))

        failed = Team(claims, machine, module, state).emit(
            [[Work(n, [call(i)])] for i, n in enumerate(parts)]
        )
        with script.Assert(failed == 0, "failed"):
            pass
        with script.serial(0, parts[-1]) as other:
            script.buffer_store(behind, behind[0, 0] + seen[len(parts) - 1, other], [0, 0])
    module["main"] = builder.get()
    target = tvm.target.Target(machine.llvm(shares))
    with target:
        whole = with_pool(module, machine)
        return tvm.compile(whole, target=target, tir_pipeline=register_pipeline()).mod, claims


@pytest.mark.parametrize(("shares", "threads"), [(2, 5), (64, 2)])
def test_every_part_is_done_once_and_after_all_that_it_needs(shares, threads) -> None:
    """On threads that TVM starts and waits for, then with helpers that come and go as they like."""
    import tvm

    parts = [1, 7, 2000, 900, 1, 1, 40, 3, 2000, 900]  # long enough for two threads to meet
    library, claims = program(parts, shares)
    wrong: list[int] = []

    def runs(count: int, on_threads) -> None:
        shape = len(parts), max(parts)
        for turn in range(count):
            seen, behind = (tvm.runtime.tensor(np.zeros(shape, np.int32)) for _ in range(2))
            state = tvm.runtime.tensor(np.full(claims.size, 255, np.uint8))
            on_threads(lambda given=(seen, behind, state): library["main"](*given))
            for stage, count in enumerate(parts):
                right = (seen.numpy()[stage, :count] == 1).all()
                if not right or (behind.numpy()[stage, :count] != parts[stage - 1]).any():
                    wrong.append(turn)

    def on_threads_of_tvm() -> None:
        use_pool(threads)
        runs(10, lambda run: run())

    thread = threading.Thread(target=on_threads_of_tvm)
    thread.start()
    thread.join()
    if join(library, threads):
        runs(300, lambda run: run_with_helpers(library, threads, run))
    assert not wrong
