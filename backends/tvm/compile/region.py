"""A region: a function that all threads of a run call, and how they come to it.

    network:   captured -> memory of the pool; run the region with helpers, until its parts are done
    helper:    memory of the pool -> captured, if the job is still open; the region

Helpers may come when the run is over, so that what the region needs is no closure on the stack of
who runs it. Where there is no pool, TVM starts threads, and waits for each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..runtime.pool_memory import CAPTURED, MOST_CAPTURED
from ..spec.machine import CpuMachine
from .claim import Claims
from .pointer_kernels import EXPORTED, MARK
from .pool import has_pool
from .pool_code import TURNS, running

# What who emits the body of a region is given: the state, a share, and the numbers of stages and of
# parts before those of the region.
Emit = Callable[[Any, Any, Any, Any], None]


@dataclass(frozen=True)
class SharedRegion:
    """A function (state, turn, stages, parts, captured ...) of a module, called `name`."""

    name: str
    function: Any
    captured: list[Any]

    @classmethod
    def of(cls, name: str, module: Any, shares: int, emit: Emit) -> SharedRegion:
        """Put the region into `module` that `emit` emits; it may use variables of its caller."""
        import tvm_ffi
        from tvm import tirx
        from tvm.script.ir_builder import IRBuilder

        with IRBuilder() as builder, _function(name) as (state, turn, stages, parts):
            emit(state, (turn * shares) // TURNS, stages, parts)
        made = builder.get()
        captured = list(tirx.analysis.undefined_vars(made.body, made.params))
        given = {one: tirx.Var(one.name, one.ty) for one in captured}
        params = [*made.params, *given.values()]
        body = tvm_ffi.structural_map(made.body, (tirx.Var, lambda one: given.get(one, one)))
        module[name] = tirx.PrimFunc(params, body, made.ret_type, made.attrs)
        return cls(name, module.get_global_var(name), captured)

    def run(self, claims: Claims, module: Any, machine: CpuMachine, arena: Any, count: Any) -> Any:
        """Emit a run, and return what tells of a failure: not 0.

        `count`: the number of stages, and of parts in all of them.
        """
        from tvm import tirx
        from tvm.tirx.script.builder import ir as script

        if not has_pool(machine) or len(self.captured) > MOST_CAPTURED:
            self._run_alone(claims, arena)
            return claims.failed(arena)
        self._put_entry(module, machine)
        failed = script.alloc_buffer((1,), "int32")
        with script.attr(
            tirx.const(0, "int32"), "pragma_import_llvm", running(machine, self._entry)
        ):
            pool = script.Bind(tirx.call_extern("handle", "planish_pool_joined"))
            with script.If(tirx.isnullptr(pool)):
                with script.Then():
                    self._run_alone(claims, arena)
                    script.buffer_store(failed, claims.failed(arena), [0])
                with script.Else():
                    for place, value in self._places(self.captured):
                        kind = _kind(value)
                        wide = tirx.Cast("int64", value) if kind == "number" else value
                        script.evaluate(
                            tirx.call_extern("void", f"planish_capture_{kind}", pool, place, wide)
                        )
                    run = tirx.call_extern("int32", f"planish_run_{self._entry}", pool, *count)
                    script.buffer_store(failed, run, [0])
        return failed[0]

    @property
    def _entry(self) -> str:
        return f"{self.name}_entry"

    def _run_alone(self, claims: Claims, arena: Any) -> None:
        """Emit a run on TVM's threads, which share memory at the beginning of the arena.

        TVM does not say how many there are. Each begins at a turn of its own, and in the next one
        it finds that all is claimed.
        """
        from tvm import tirx
        from tvm.tirx.script.builder import ir as script

        claims.clear(arena)
        zero = tirx.const(0, "int64")
        with script.parallel(0, TURNS) as turn, claims.until_closed(arena):
            script.evaluate(self._call([arena, turn, zero, zero, *self.captured]))

    def _put_entry(self, module: Any, machine: CpuMachine) -> None:
        """Put the function into `module` that helpers call: they read what was captured."""
        from tvm import tirx
        from tvm.script.ir_builder import IRBuilder
        from tvm.tirx.script.builder import ir as script

        with (
            IRBuilder() as builder,
            _function(self._entry, exported=True) as (state, turn, stages, parts),
        ):
            generation = script.arg("generation", script.int64())
            found = []
            for place, value in self._places(self.captured):
                kind = _kind(value)
                type_of = "int64" if kind == "number" else "handle"
                read = script.Bind(
                    tirx.call_extern(type_of, f"planish_captured_{kind}", state, place)
                )
                found.append(tirx.Cast(value.ty.dtype, read) if kind == "number" else read)
            current = tirx.call_extern("bool", "planish_is_current", state, generation)
            with script.If(current), script.Then():
                script.evaluate(self._call([state, turn, stages, parts, *found]))
        module[self._entry] = builder.get()

    def _call(self, given: list[Any]) -> Any:
        from tvm import ir

        return ir.Call(self.function, given, ret_ty=ir.PrimType("int32"))

    @staticmethod
    def _places(values: list[Any]) -> list[tuple[Any, Any]]:
        from tvm import tirx

        return [(tirx.const(CAPTURED + 8 * i, "int64"), one) for i, one in enumerate(values)]


@contextlib.contextmanager
def _function(name: str, *, exported: bool = False) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Let a function be emitted, and give its first parameters."""
    from tvm import ir
    from tvm.tirx.script.builder import ir as script

    with script.prim_func(s_tir=True):
        script.func_name(name)
        attrs = {"tirx.is_scheduled": True, MARK: True}
        script.func_attr({**attrs, EXPORTED: True} if exported else attrs)
        script.func_ret(ir.PrimType("int32"))
        yield (
            script.arg("state", script.ptr("uint8")),
            script.arg("turn", script.int32()),
            script.arg("stages", script.int64()),
            script.arg("parts", script.int64()),
        )


def _kind(variable: Any) -> str:
    from tvm import ir

    return "number" if isinstance(variable.ty, ir.PrimType) else "pointer"
