"""The schedule of windows over single channels: depthwise convolution and pooling.

    a thread: some neighbouring channels at one position    a warp: the channels beside them

Nothing is shared but what caches keep: rows of a window are read by neighbouring positions, and
every read is of neighbouring channels by neighbouring threads.
"""

from __future__ import annotations

import math
from typing import Any

_THREADS = 128
_LANES = 4


def schedule_window(function: Any) -> Any:
    """Return `function` scheduled, or None where it holds no window over channels."""
    from tvm import s_tir
    from tvm.s_tir.dlight.gpu.matmul import auto_inline_consumer_chain, auto_inline_producers

    s = s_tir.Schedule(function)
    block = next(
        (
            block
            for block in s.get_child_blocks(s.get_sblock("root"))
            if s.get(block).name_hint.startswith("window")
        ),
        None,
    )
    if block is None:
        return None
    kinds = [int(axis.iter_type) for axis in s.get(block).iter_vars]
    spatial = kinds.count(0)
    lanes = math.gcd(_LANES, int(s.get(block).iter_vars[spatial - 1].dom.extent))
    auto_inline_producers(s, block)
    result = s.cache_write(block, 0, "local")
    auto_inline_consumer_chain(s, result)
    fused = s.fuse(*s.get_loops(result)[:spatial])
    grid, thread, lane = s.split(fused, [None, _THREADS, lanes])
    s.bind(grid, "blockIdx.x")
    s.bind(thread, "threadIdx.x")
    s.vectorize(lane)
    s.compute_at(block, thread, preserve_unit_loops=True)
    taps = [
        loop for loop, kind in zip(s.get_loops(block)[-len(kinds) :], kinds, strict=True) if kind
    ]
    channel = s.get_loops(block)[-len(kinds) + spatial - 1]
    s.reorder(*taps, channel)
    init = s.decompose_reduction(block, taps[0])
    s.vectorize(channel)
    s.vectorize(s.get_loops(init)[-1])
    for tap in taps:
        s.unroll(tap)
    return s.mod["main"]
