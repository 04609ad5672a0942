"""The schedule of everything that has none of its own: parallel outside, vectors inside.

    for (outer spatial axes, fused) in parallel: for (the rest): for (innermost spatial axis)

The innermost loop is contiguous in what is written, and LLVM vectorizes it. What only gives a
tensor other sizes is marked: who calls it may take the memory that it reads for what it writes.
"""

from __future__ import annotations

from typing import Any

# What is inlined may write so many nodes; two exponentials, one in the other, are ten thousand.
_MOST_NODES = 5000
# Below so many elements, starting threads costs more than they save.
_WORTH_THREADS = 4096
RESHAPE = "planish.reshape"  # a function whose result is what it reads, element by element


def schedule_generic(module: Any) -> Any:
    """Return `module` with every function that is not marked as scheduled given a schedule."""
    from tvm import s_tir, tirx

    for variable, function in module.functions_items():
        marked = function.attrs is not None and "tirx.is_scheduled" in function.attrs
        if not isinstance(function, tirx.PrimFunc) or marked:
            continue
        schedule = s_tir.Schedule(function)
        _inline(schedule)
        reshapes = _reshapes(schedule.mod["main"])
        for block in schedule.get_child_blocks(schedule.get_sblock("root")):
            _parallel(schedule, block)
        found = schedule.mod["main"].with_attr("tirx.is_scheduled", True)
        module[variable] = found.with_attr(RESHAPE, True) if reshapes else found
    return module


def _reshapes(function: Any) -> bool:
    """Say whether `function` writes the one tensor that it reads, in other sizes."""
    from tvm import relax

    return len(function.params) == 2 and bool(relax.analysis.has_reshape_pattern(function))


def _inline(schedule: Any) -> None:
    """Compute what is computed element by element where it is read."""
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        if not _grows(schedule, block):
            _tried(schedule.compute_inline, block)


def _grows(schedule: Any, block: Any) -> bool:
    """Say whether what `block` computes is long, written down wherever it is read.

    An exponential reads its argument twenty times: of three, one in the other, TVM takes minutes.
    """
    from tvm import ir

    computed = schedule.get(block)
    written = {region.source for region in computed.writes}
    readers = [schedule.get(each) for each in schedule.get_consumers(block)]
    reads = [load for each in readers for load in _found(each.body, ir.TensorLoad)]
    times = sum(load.source in written for load in reads)
    return times * len(_found(computed.body, ir.Expr)) > _MOST_NODES


def _found(body: Any, kind: Any) -> list[Any]:
    """Return all nodes of one kind in `body`, one that stands there twice twice."""
    import tvm_ffi

    found: list[Any] = []
    tvm_ffi.structural_walk(body, (kind, found.append))
    return found


def _parallel(schedule: Any, block: Any) -> None:
    """Make the outer spatial loops of `block` one parallel loop, all but the last of them."""
    from tvm import tirx

    loops = schedule.get_loops(block)
    kinds = [int(axis.iter_type) for axis in schedule.get(block).iter_vars]
    if len(kinds) != len(loops):
        return  # a block inside another's loops, or without loops
    outer = []
    size = 1
    for loop, kind in zip(loops, kinds, strict=True):
        if kind != 0:  # a reduction, or what must run in order
            break
        extent = schedule.get(loop).extent
        size *= int(extent) if isinstance(extent, tirx.IntImm) else _WORTH_THREADS
        outer.append(loop)
    if size < _WORTH_THREADS:
        return
    if len(outer) == len(loops) and len(outer) > 1:
        outer.pop()
    if outer:
        _tried(schedule.parallel, schedule.fuse(*outer) if len(outer) > 1 else outer[0])


def _tried(step: Any, argument: Any) -> bool:
    """Say whether `step` was possible; it changes nothing where it is not."""
    from tvm.s_tir.schedule import ScheduleError

    try:
        step(argument)
    except ScheduleError:
        return False
    return True
