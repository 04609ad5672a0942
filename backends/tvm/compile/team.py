"""Kernels in a row on threads that are started once: between two kernels they meet at a barrier.

    parallel { f(share of this thread); barrier; g(share of this thread); barrier; ... }

Starting threads for every loop takes over a microsecond, as long as a small layer's work; a barrier
takes a fraction of that. A kernel is told which share of its parallel loops is its own, counted in
ticks, for how many threads there are is known only when it runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ..kernels.frame import INDEPENDENT

_BITS = 10
_TICKS = 1 << _BITS  # of all work, and as many threads at most
_Rewrite = Callable[[Any], Any]


def of_share(kernel: Any) -> Any | None:
    """Return `kernel` with two more parameters, the first tick of its share and the one behind it.

    What has no parallel loop is done by who has tick 0. None where some of it cannot be shared.
    """
    from tvm import tirx

    first, last = tirx.Var("first_tick", "int32"), tirx.Var("last_tick", "int32")
    statements = list(_statements(kernel.body))
    loops = [one for one in statements if _is_parallel(one)]
    if len(loops) != _parallel_loops(kernel.body):
        return None  # some are inside others
    body = kernel.body
    if not loops:
        body = tirx.IfThenElse(first == 0, body, None)
    elif all(_is_parallel(one) or isinstance(one, tirx.DeclBuffer) for one in statements):
        if len(loops) > 1 and INDEPENDENT not in (kernel.attrs or {}):
            return None
        body = _rewritten(body, lambda loop: _share_of(loop, first, last))
    else:
        return None
    return tirx.PrimFunc([*kernel.params, first, last], body, kernel.ret_type, kernel.attrs)


@contextlib.contextmanager
def team() -> Iterator[tuple[Any, Any]]:
    """Open a region that all threads run, and give the share of each: `first` and `last` tick."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as script

    with script.attr(tirx.const(0, "int32"), "pragma_parallel_launch_point", tirx.const(1)):
        # Which iterations are a thread's own, TVM tells in no other way than by running them.
        counted = script.alloc_buffer((2,), "int32")
        for place in range(2):
            script.buffer_store(counted, tirx.const(0, "int32"), [place])
        with script.parallel(0, _TICKS) as tick:
            script.buffer_store(counted, counted[0] + 1, [0])
            script.buffer_store(counted, tick + 1, [1])
        last = script.bind(counted[1])
        yield script.bind(last - counted[0]), last


@contextlib.contextmanager
def barrier() -> Iterator[None]:
    """Open a part of a team's region at whose end each thread waits for all others."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as script

    with script.attr(tirx.const(0, "int32"), "pragma_parallel_barrier_when_finish", tirx.const(1)):
        yield


def _statements(body: Any) -> Iterator[Any]:
    """Yield the statements of a kernel's outermost block."""
    from tvm import s_tir, tirx

    if isinstance(body, s_tir.SBlockRealize):
        block = body.block
        yield from [*block.alloc_buffers, *_statements(block.body)]
    elif isinstance(body, tirx.SeqStmt):
        for one in body.seq:
            yield from _statements(one)
    else:
        yield body


def _is_parallel(statement: Any) -> bool:
    from tvm import tirx

    return isinstance(statement, tirx.For) and statement.kind == tirx.ForKind.PARALLEL


def _parallel_loops(body: Any) -> int:
    """Return the number of parallel loops, wherever they are."""
    import tvm_ffi
    from tvm import tirx

    found: list[Any] = []
    tvm_ffi.structural_walk(body, (tirx.For, lambda one: found.append(one)))
    return sum(map(_is_parallel, found))


def _rewritten(body: Any, rewrite: _Rewrite) -> Any:
    """Return the outermost block with each parallel loop rewritten."""
    from tvm import s_tir, tirx

    if _is_parallel(body):
        return rewrite(body)
    if isinstance(body, tirx.SeqStmt):
        return tirx.SeqStmt([_rewritten(one, rewrite) for one in body.seq])
    if isinstance(body, s_tir.SBlockRealize):
        return _rewritten(body.block.body, rewrite)
    return body


def _share_of(loop: Any, first: Any, last: Any) -> Any:
    """Return `loop` over the share from tick `first` up to `last`, in order."""
    from tvm import tirx

    kind = loop.loop_var.ty.dtype
    start, end = (_part(loop.extent, tirx.Cast(kind, tick)) for tick in (first, last))
    begin, counter = tirx.Var("begin", kind), tirx.Var("turn", kind)
    inner = tirx.SeqStmt([tirx.Bind(loop.loop_var, loop.min + begin + counter), loop.body])
    serial = tirx.For(counter, tirx.const(0, kind), end - begin, tirx.ForKind.SERIAL, inner)
    return tirx.SeqStmt([tirx.Bind(begin, start), serial])


def _part(extent: Any, ticks: Any) -> Any:
    """Return `extent` * `ticks` // _TICKS; no number on the way is larger than both.

    TVM is shown in what range they are: it divides indices that may be below zero by way of numbers
    that may not fit.
    """
    from tvm import tirx

    ticks = tirx.max(tirx.min(ticks, _TICKS), 0)
    whole, rest = tirx.floordiv(extent, _TICKS), tirx.floormod(extent, _TICKS)
    return whole * ticks + ((rest * ticks) >> _BITS)
