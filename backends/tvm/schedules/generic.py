"""The schedule of everything that has none of its own: parallel outside, vectors inside.

    for (outer axes, fused) in parallel: for (rest): for (16 elements) as a vector
"""

from __future__ import annotations

from typing import Any


def schedule_generic(module: Any) -> Any:
    """Return `module` with every function that is not marked as scheduled given a schedule."""
    from tvm import s_tir, tirx

    for variable, function in module.functions_items():
        if not isinstance(function, tirx.PrimFunc) or "tirx.is_scheduled" in function.attrs:
            continue
        schedule = s_tir.Schedule(function)
        _schedule(schedule)
        module[variable] = schedule.mod["main"].with_attr("tirx.is_scheduled", True)
    return module


def _schedule(schedule: Any) -> None:
    """Make the spatial loops of every block one parallel loop."""
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        loops = schedule.get_loops(block)
        if loops:
            schedule.parallel(loops[0])
