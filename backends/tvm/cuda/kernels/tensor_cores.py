"""The schedule of a half-precision matrix product on tensor cores, summed in single precision.

    a block of threads: a tile of the result   for k0: tile of A, tile of B -> shared memory
    a warp: a part of that tile                    for k1: 16x16x16 products of fragments

While one pair of tiles is multiplied, the next is on its way from global memory to registers. The
left matrix of a convolution exists only as those tiles: gathering is part of the load. What follows
the product reads its sum from shared memory and writes rows of channels.

Source: CUDA C++ Programming Guide, "Warp Matrix Functions" (fragments, leading dimensions).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .fragments import FRAGMENT, mark, with_instructions

WARP = 32


@dataclass(frozen=True)
class ThreadBlockTile:
    """Rows, columns and depth of what one block of threads holds, and warps along the first two."""

    rows: int
    columns: int
    depth: int
    warps: tuple[int, int]

    @property
    def threads(self) -> int:
        """Threads in a block."""
        return math.prod(self.warps) * WARP


# From most reuse to most blocks.
TILES = (
    ThreadBlockTile(128, 128, 32, (2, 4)),
    ThreadBlockTile(128, 64, 32, (4, 2)),
    ThreadBlockTile(64, 64, 32, (2, 2)),
    ThreadBlockTile(32, 32, 64, (1, 2)),
)
# Blocks that keep a GPU busy: about one for each of its processors.
_ENOUGH_BLOCKS = 96


def choose_tile(rows: int | None, columns: int) -> ThreadBlockTile:
    """Return the largest tile of which the result has enough; `rows` None: not known."""
    for tile in TILES:
        blocks = math.ceil((rows or 1 << 14) / tile.rows) * math.ceil(columns / tile.columns)
        if blocks >= _ENOUGH_BLOCKS and tile.columns <= max(32, columns):
            return tile
    return TILES[-1]


def schedule_product(function: Any, tile: ThreadBlockTile | None = None) -> Any:
    """Return `function` scheduled, or None where it holds no half-precision product."""
    from tvm import s_tir
    from tvm.s_tir.dlight.gpu import matmul

    schedule = s_tir.Schedule(function)
    block = product_of(schedule)
    if block is None or schedule.get(block).reads[0].source.dtype != "float16":
        return None
    channels = schedule.get(block).iter_vars[-1].dom.extent
    maps = _as_matrices(schedule, block)
    if maps is None:
        return None
    _, rows, columns, depth = (schedule.get(loop).extent for loop in schedule.get_loops(block))
    tile = tile or choose_tile(_number(rows), int(columns))
    _Product(schedule, tile, matmul).run(block, int(channels), int(depth))
    return with_instructions(schedule.mod["main"])


def product_of(schedule: Any) -> Any:
    """Return the block of the one matrix product, or None."""
    found = [
        block
        for block in schedule.get_child_blocks(schedule.get_sblock("root"))
        if schedule.get(block).name_hint.startswith("product")
    ]
    return found[0] if len(found) == 1 else None


def _as_matrices(schedule: Any, block: Any) -> Any:
    """Make the axes of `block` group, rows, columns and depth; None where it is no product."""
    from tvm.s_tir.dlight.gpu import matmul

    left = schedule.reindex(block, ("read", 0))
    right = schedule.reindex(block, ("read", 1))
    result = schedule.reindex(block, ("write", 0))
    maps = matmul.get_index_map(schedule.get(block))
    if maps is None:
        return None
    whole, of_left, of_right, of_result = maps
    schedule.transform_layout(left, ("write", 0), of_left)
    schedule.transform_layout(right, ("write", 0), of_right)
    schedule.transform_layout(result, ("read", 0), of_result)
    schedule.transform_block_layout(block, whole)
    return maps


class _Product:
    """The steps of one schedule."""

    def __init__(self, schedule: Any, tile: ThreadBlockTile, helpers: Any) -> None:
        self.schedule = schedule
        self.tile = tile
        self.helpers = helpers

    def run(self, block: Any, channels: int, depth: int) -> Any:
        s, tile = self.schedule, self.tile
        s.pad_einsum(block, [1, tile.rows, tile.columns, tile.depth])
        group, i, j, k = s.get_loops(block)
        i, i_in = s.split(i, [None, FRAGMENT])
        j, j_in = s.split(j, [None, FRAGMENT])
        k, k_in = s.split(k, [None, FRAGMENT])
        s.reorder(i, j, k, i_in, j_in, k_in)
        outer = s.blockize(i_in)
        down, across = tile.warps
        i0, i1, i2 = s.split(i, [None, down, tile.rows // down // FRAGMENT])
        j0, j1, j2 = s.split(j, [None, across, tile.columns // across // FRAGMENT])
        k0, k1 = s.split(k, [None, tile.depth // FRAGMENT])
        s.reorder(i0, j0, i1, j1, k0, k1, i2, j2)
        warp = s.fuse(i1, j1)
        s.bind(group, "blockIdx.z")
        s.bind(i0, "blockIdx.x")
        s.bind(j0, "blockIdx.y")
        s.bind(warp, "threadIdx.y")
        left = self._fetched(outer, 0, k0, math.gcd(8, channels))
        right = self._fetched(outer, 1, k0, math.gcd(8, depth))
        fragments = [
            (self._read(outer, 0, k1, "wmma.matrix_a"), "load_a"),
            (self._read(outer, 1, k1, "wmma.matrix_b"), "load_b"),
        ]
        shared = s.cache_write(outer, 0, "shared.dyn")
        s.storage_align(shared, 0, -2, FRAGMENT, 4)
        store = s.cache_write(outer, 0, "wmma.accumulator")
        s.reverse_compute_at(store, warp)
        s.reverse_compute_at(shared, warp)
        init = s.decompose_reduction(outer, k0)
        for fragment, name in fragments:
            self._by_fragments(fragment, name)
        self._by_fragments(store, "store")
        mark(s, init, "fill")
        mark(s, outer, "sync")
        self._pipelined(k0, k1)
        self.helpers.auto_inline_producers(s, left)
        self.helpers.auto_inline_producers(s, right)
        self._finish(shared)
        return s

    def _fetched(self, outer: Any, index: int, at: Any, lanes: int) -> Any:
        """Bring a tile of operand `index` to shared memory, `lanes` neighbours a thread at once."""
        s = self.schedule
        block = s.cache_read(outer, index, "shared.dyn")
        s.compute_at(block, at)
        fused = s.fuse(*s.get_loops(block)[-2:])
        warps = math.prod(self.tile.warps)
        _, warp, thread, lane = s.split(fused, [None, warps, WARP, lanes])
        s.bind(warp, "threadIdx.y")
        s.bind(thread, "threadIdx.x")
        s.vectorize(lane)
        # Rows eight halves longer than a power of two start in different banks.
        s.storage_align(block, 0, axis=-2, factor=16, offset=8)
        s.annotate(block, "tirx.manifest_shared_memory_local_stage", 1)
        s.annotate(block, "double_buffer_scope", 0)
        return block

    def _read(self, outer: Any, index: int, at: Any, scope: str) -> Any:
        block = self.schedule.cache_read(outer, index, scope)
        self.schedule.compute_at(block, at)
        return block

    def _by_fragments(self, block: Any, name: str) -> None:
        """Let the instruction `name` copy `block`, 16x16 elements at once."""
        s = self.schedule
        i, j = s.get_loops(block)[-2:]
        i0, i1 = s.split(i, [None, FRAGMENT])
        j0, j1 = s.split(j, [None, FRAGMENT])
        s.reorder(i0, j0, i1, j1)
        s.unroll(i0)
        s.unroll(j0)
        mark(s, s.blockize(i1), name)

    def _pipelined(self, k0: Any, k1: Any) -> None:
        """Load one step ahead, tiles from global memory and fragments from shared memory.

        In a step of `k0`: A to registers, A to shared memory, B the same, and the loop `k1` of two
        loads and a product, whose first loads stand before it and whose last product behind it.
        """
        s = self.schedule
        s.annotate(k0, "software_pipeline_stage", [0, 0, 0, 0, 0, 1, 1])
        s.annotate(k0, "software_pipeline_order", [0, 3, 1, 4, 5, 2, 6])
        s.annotate(k1, "software_pipeline_stage", [0, 0, 1])
        s.annotate(k1, "software_pipeline_order", [0, 1, 2])

    def _finish(self, shared: Any) -> None:
        """Write the result with what follows the product, neighbouring channels side by side."""
        s = self.schedule
        self.helpers.auto_inline_consumer_chain(s, shared)
        fused = s.fuse(*s.get_loops(shared)[-2:])
        _, thread, lane = s.split(fused, [None, WARP, 4])
        s.bind(thread, "threadIdx.x")
        s.vectorize(lane)


def _number(extent: Any) -> int | None:
    from tvm import tirx

    return int(extent) if isinstance(extent, int | tirx.IntImm) else None
