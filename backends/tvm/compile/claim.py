"""Claims on parts of a stage, in a module of TVM's: the functions that `atomics` has code for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..spec.machine import CpuMachine
from .atomics import LINE, atomic_functions, yield_of
from .pointer_kernels import MARK

_MOST_SHARES = 64  # with more threads, some have a share together
_NUMBERS = {"clear": 0, "claim": 6, "wait": 1}  # parameters behind the state


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A stage of so many `parts`; `until`: the parts of all stages up to it.

    `goal`: the parts up to the next wait, whose completion wakes who waits.
    """

    number: int
    parts: int
    until: int
    goal: int


class Claims:
    """Functions of `module` by which threads tell each other, in memory of `size` bytes.

    `state`, a pointer to it, is their first argument; `clear` is called before all others.
    """

    def __init__(self, machine: CpuMachine, threads: int, module: Any) -> None:
        self.shares = min(threads, _MOST_SHARES)
        self.size = LINE * (1 + self.shares)
        self._code = atomic_functions(machine, self.size)
        for name, count in _NUMBERS.items():
            module[_symbol(name)] = _function(name, count, self._code, yield_of(machine))
        self._callees = {name: module.get_global_var(_symbol(name)) for name in _NUMBERS}

    def clear(self, state: Any) -> None:
        """Emit that nothing is claimed or finished."""
        self._call("clear", state)

    @contextlib.contextmanager
    def until_closed(self, state: Any, region: int) -> Iterator[None]:
        """Open what is done where no thread has been through this region; who has closes it."""
        from tvm import tirx
        from tvm.tirx.script.builder import ir as script

        imported = script.attr(tirx.const(0, "int32"), "pragma_import_llvm", self._code)
        is_open = tirx.call_extern("bool", "planish_atomic_is_open", state, region)
        with imported, script.If(is_open), script.Then():
            yield
            script.evaluate(tirx.call_extern("void", "planish_atomic_close", state, region))

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

    def _call(self, name: str, *given: Any) -> None:
        from tvm import ir, tirx
        from tvm.tirx.script.builder import ir as script

        numbers = [tirx.const(g, "int32") if isinstance(g, int) else g for g in given]
        script.evaluate(ir.Call(self._callees[name], numbers, ret_ty=ir.PrimType("int32")))


def _symbol(name: str) -> str:
    return f"{name}_parts"


def _function(name: str, count: int, code: str, yields: str | None) -> Any:
    """Return a private function of a state and `count` numbers; code that is inlined is in it."""
    from tvm import ir, tirx
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script.builder import ir as script

    with IRBuilder() as builder, script.prim_func(s_tir=True):
        script.func_name(_symbol(name))
        script.func_attr({"tirx.is_scheduled": True, MARK: True})
        script.func_ret(ir.PrimType("int32"))
        given = [script.arg("state", script.ptr("uint8"))]
        given += [script.arg(f"n{i}", script.int32()) for i in range(count)]
        if name == "claim":
            given.append(script.arg("claimed", script.ptr("int32")))
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
