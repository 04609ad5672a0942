"""Claims on parts of a stage, in a module of TVM's: the functions that `atomics` has code for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..runtime.pool_memory import LINE, MOST_SHARES, SHARES
from ..spec.machine import CpuMachine
from .atomics import atomic_functions
from .futex import yield_of
from .pointer_kernels import MARK

# Parameters behind the state.
_PARAMETERS = {
    "clear": ["int64"],
    "claim": ["int64", "int32", "int32", "int32", "int64", "int64", "claimed"],
    "wait": ["int64"],
}


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A stage of so many `parts`; `until`: the parts of all stages up to it.

    `goal`: the parts up to the next wait, whose completion wakes who waits. All may be
    computed while the network runs.
    """

    number: Any
    parts: Any
    until: Any
    goal: Any

    def behind(self, stages: Any, parts: Any) -> Claimed:
        """Return the stage behind so many others, which have so many parts."""
        return replace(
            self, number=stages + self.number, until=parts + self.until, goal=parts + self.goal
        )


class Claims:
    """Functions of `module` by which threads tell each other, in memory that they call `state`.

    It is a pool's, or has `size` bytes that `clear` is called for before all else.
    """

    def __init__(self, machine: CpuMachine, threads: int, module: Any) -> None:
        self.shares = min(threads, MOST_SHARES)
        self.size = SHARES + LINE * self.shares
        self._code = atomic_functions(machine)
        for name in _PARAMETERS:
            module[_symbol(name)] = _function(name, self._code, yield_of(machine))
        self._callees = {name: module.get_global_var(_symbol(name)) for name in _PARAMETERS}

    def clear(self, state: Any) -> None:
        """Emit that nothing is claimed or finished."""
        self._call("clear", state, self.size)

    @contextlib.contextmanager
    def until_closed(self, state: Any) -> Iterator[None]:
        """Open what is done where no thread has been through it; who has closes it."""
        from tvm import tirx
        from tvm.tirx.script.builder import ir as script

        imported = script.attr(tirx.const(0, "int32"), "pragma_import_llvm", self._code)
        is_open = tirx.call_extern("bool", "planish_atomic_is_open", state)
        with imported, script.If(is_open), script.Then():
            yield
            script.evaluate(tirx.call_extern("void", "planish_atomic_close", state))

    def claim(self, state: Any, stage: Claimed, share: Any, claimed: Any) -> None:
        """Emit a claim on parts of `stage` by who has that share.

        `claimed`: a pointer to three numbers, the range, empty where nothing is left, and how many
        parts this thread has finished and not told. What it claimed before is finished.
        """
        given = [stage.number, share, self.shares, stage.parts, stage.until, stage.goal]
        self._call("claim", state, *given, claimed)

    def wait(self, state: Any, until: int) -> None:
        """Emit the wait until so many parts are finished."""
        self._call("wait", state, until)

    def fail(self, state: Any, status: Any) -> None:
        """Emit that a kernel returned `status`; parts of it are not finished yet."""
        from tvm import tirx
        from tvm.tirx.script.builder import ir as script

        script.evaluate(tirx.call_extern("void", "planish_atomic_fail", state, status))

    def failed(self, state: Any) -> Any:
        """Return what a kernel returned that was not 0, where all parts are finished."""
        from tvm import tirx

        return tirx.call_extern("int32", "planish_atomic_failed", state)

    def _call(self, name: str, state: Any, *given: Any) -> None:
        from tvm import ir, tirx
        from tvm.tirx.script.builder import ir as script

        numbers = [
            tirx.const(value, kind) if isinstance(value, int) else value
            for kind, value in zip(_PARAMETERS[name], given, strict=True)
        ]
        call = ir.Call(self._callees[name], [state, *numbers], ret_ty=ir.PrimType("int32"))
        script.evaluate(call)


def _symbol(name: str) -> str:
    return f"{name}_parts"


def _function(name: str, code: str, yields: str | None) -> Any:
    """Return a private function of a state and more; code that is inlined is in it."""
    from tvm import ir, tirx
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script.builder import ir as script

    with IRBuilder() as builder, script.prim_func(s_tir=True):
        script.func_name(_symbol(name))
        script.func_attr({"tirx.is_scheduled": True, MARK: True})
        script.func_ret(ir.PrimType("int32"))
        given = [script.arg("state", script.ptr("uint8"))]
        for index, kind in enumerate(_PARAMETERS[name]):
            pointer = kind == "claimed"
            value = script.ptr("int32") if pointer else getattr(script, kind)()
            given.append(script.arg(f"n{index}", value))
        with script.attr(tirx.const(0, "int32"), "pragma_import_llvm", code):
            if name == "wait":
                with script.While(tirx.call_extern("int32", "planish_atomic_poll", *given) == 0):
                    if yields is None:
                        script.evaluate(tirx.call_extern("void", "planish_atomic_sleep", *given))
                    else:
                        script.evaluate(tirx.call_extern("int32", yields))
            else:
                script.evaluate(tirx.call_extern("void", f"planish_atomic_{name}", *given))
    return builder.get()
