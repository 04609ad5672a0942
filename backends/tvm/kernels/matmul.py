"""Products of matrices that lie as ONNX has them, row by row.

    y[b, m, n] = epilogue(sum over k of x[b, m, k] * w[b, k, n])

A tile of rows and a panel of columns is summed in registers, and what follows is applied there.
Constant matrices are packed panel by panel beforehand, padded with zeros, and shared by the whole
batch: `w[panel, k, column]`. Threads share blocks of rows and panels alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..spec.chain import ElementwiseChain
from ..spec.layout import Array, BufferSpec, plain_spec
from .elements import FLOAT, constant
from .epilogue import Epilogue
from .frame import function, weights
from .loops import loops, parallel
from .registers import Register, Vector, registers

_VECTORS = 2  # of a panel's columns
_SPARE = 2  # registers for what is multiplied
_NO_CHAIN = ElementwiseChain()
_MOST_TILES = 16  # of a block of rows
_MOST_STEPS = 2  # of what follows, written out for each vector of a tile
_FEW = 4  # rows: their sums are as many as hide how long an addition takes
_SHARES = 4  # blocks for a thread, so that none is idle for long while others end


@dataclass(frozen=True, kw_only=True)
class MatMul:
    """Rows of `depth` elements by matrices [depth, columns].

    x is [outer, rows, depth]; there are `outer` matrices, or one if `shared`, and then `rows` is 1.
    `outer` is None where it is not known. `packed`: as constants are. `tiles`: of a block of rows.
    """

    outer: int | None
    rows: int
    shared: bool
    depth: int
    columns: int
    packed: bool
    lanes: int
    registers: int
    tiles: int = _MOST_TILES
    epilogue: ElementwiseChain = _NO_CHAIN
    dtype: str = "float32"

    @property
    def panel(self) -> int:
        """The columns of a panel."""
        return _VECTORS * self.lanes

    @property
    def panels(self) -> int:
        """The number of panels, the last of which may have fewer columns."""
        return -(-self.columns // self.panel)

    @property
    def tile(self) -> int:
        """The rows of a tile."""
        return max(1, (self.registers - _SPARE) // _VECTORS - 1)

    @property
    def y(self) -> BufferSpec:
        """What the epilogue sees of the result: rows are channels."""
        return plain_spec(self.rows, (self.columns,), self.dtype)


def tiles_for(op: MatMul, rows: int, threads: int) -> int:
    """Return how many tiles of `rows` in all are one thread's at a time: few, to share evenly."""
    pieces = -(-rows // op.tile) * op.panels * (1 if op.shared else op.outer or 1)
    return max(1, min(_MOST_TILES, pieces // (_SHARES * threads * op.panels)))


def packed(op: MatMul, values: Array) -> Array:
    """Return a matrix [depth, columns] panel by panel: [panels, depth, panel]."""
    missing = -op.columns % op.panel
    wide = np.pad(values, ((0, 0), (0, missing))).reshape(op.depth, -1, op.panel)
    return np.ascontiguousarray(wide.transpose(1, 0, 2))


def matmul(op: MatMul) -> Any:
    """Return the function (x [outer, rows, depth], w, operands of the epilogue..., y)."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as T

    with function("matmul", op.outer) as frame:
        matrix = (op.panels, op.depth, op.panel) if op.packed else (op.depth, op.columns)
        x = weights("X", (frame.batch, op.rows, op.depth))
        w = weights("W", matrix if op.shared else (frame.batch, *matrix))
        epilogue = Epilogue.declare(frame, op.epilogue, op.y)
        epilogue.begin(frame)
        matrices, rows = (1, frame.batch) if op.shared else (frame.batch, op.rows)
        block = op.tile * op.tiles
        blocks = -(-rows // block) if isinstance(rows, int) else tirx.ceildiv(rows, block)
        whole = op.columns // op.panel
        with parallel([matrices, blocks, op.panels]) as (b, part, panel):
            at = _Operands(x, w, epilogue, b, panel)
            if whole == op.panels:
                _panel(op, rows, part, at, [op.lanes] * _VECTORS)
            elif not whole:
                _panel(op, rows, part, at, _rest(op))
            else:
                with T.If(panel < whole):
                    with T.Then():
                        _panel(op, rows, part, at, [op.lanes] * _VECTORS)
                    with T.Else():
                        _panel(op, rows, part, at, _rest(op))
    return frame.func


def _rest(op: MatMul) -> list[int]:
    """Return the lanes of the vectors of the last panel, where it is not full."""
    count = op.columns % op.panel
    vectors = [op.lanes] * (count // op.lanes)
    return vectors + ([count % op.lanes] if count % op.lanes else [])


@dataclass(frozen=True)
class _Operands:
    """What is multiplied, what follows, and which matrix and panel of it."""

    x: Any
    w: Any
    epilogue: Epilogue
    matrix: Any
    panel: Any

    def weight(self, op: MatMul, depth: Any, column: Any) -> Any:
        """Return the element of the panel."""
        if op.packed:
            return self.w[self.panel, depth, column]
        place = (depth, self.panel * op.panel + column)
        return self.w[place if op.shared else (self.matrix, *place)]

    def row(self, op: MatMul, row: Any) -> tuple[Any, Any]:
        """Return the first two indices of a row of `x` and of the result."""
        return (row, 0) if op.shared else (self.matrix, row)


def _panel(op: MatMul, rows: Any, part: Any, at: _Operands, vectors: Sequence[int]) -> None:
    """Emit a block of rows of a panel, whose columns are `vectors` of some lanes each."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as T

    first, block = part * (op.tile * op.tiles), op.tile * op.tiles
    if isinstance(rows, int) and rows <= op.tile:
        _tile(op, at, 0, rows, vectors)
        return
    exact = isinstance(rows, int) and rows % block == 0
    count = block if exact else tirx.min(rows - first, tirx.const(block, "int64"))
    with loops(op.tiles if exact else tirx.floordiv(count, op.tile)) as (turn,):
        _tile(op, at, first + turn * op.tile, op.tile, vectors)
    if isinstance(rows, int):
        rest = rows % op.tile
        if rest:
            start = rows - rest
            with T.If(first + block >= rows), T.Then():
                _tile(op, at, start, rest, vectors)
        return
    after = first + tirx.floordiv(count, op.tile) * op.tile
    rest = tirx.floormod(count, op.tile)
    with loops(tirx.floordiv(rest, _FEW)) as (turn,):
        _tile(op, at, after + turn * _FEW, _FEW, vectors)
    with loops(tirx.floormod(rest, _FEW)) as (turn,):
        _tile(op, at, after + tirx.floordiv(rest, _FEW) * _FEW + turn, 1, vectors)


def _tile(op: MatMul, at: _Operands, first: Any, rows: int, vectors: Sequence[int]) -> None:
    from tvm.tirx.script.builder import ir as T

    totals = [[registers(1, lanes)[0] for lanes in vectors] for _ in range(rows)]
    held = {lanes: registers(op.epilogue.held, lanes) for lanes in dict.fromkeys(vectors)}
    for total in (one for row in totals for one in row):
        total.set(lambda _: constant(0.0))
    with loops(op.depth) as (k,):
        for row, place, total in _each(totals):
            x = at.x[(*at.row(op, first + row), k)]
            _add(total, x, lambda lane: at.weight(op, k, place * op.lanes + lane))
    apart = len(op.epilogue.steps) > _MOST_STEPS and op.dtype == FLOAT

    def place_of(row: Any, place: int, lane: Any) -> tuple[Any, Any, tuple[Any, Any, Any], Any]:
        n, channel = at.row(op, first + row)
        return n, 0, (0, 0, at.panel * op.panel + place * op.lanes + lane), channel

    for row, place, total in _each(totals):
        with T.vectorized(0, total.lanes) as lane:
            to = place_of(row, place, lane)
            if apart:
                at.epilogue.y.store(total[lane], *to)
            else:
                at.epilogue.store_at(total[lane], to, Vector(lane, held[total.lanes]))
    if apart:
        with loops(rows) as (row,):
            for place, lanes in enumerate(vectors):
                with T.vectorized(0, lanes) as lane:
                    to = place_of(row, place, lane)
                    sum_ = at.epilogue.y.stored(*to)
                    at.epilogue.store_at(sum_, to, Vector(lane, held[lanes]))


def _add(total: Register, x: Any, weight: Any) -> None:
    total.set(lambda lane: total[lane] + x * weight(lane))


def _each(totals: Sequence[Sequence[Register]]) -> Iterator[tuple[int, int, Register]]:
    for row, vectors in enumerate(totals):
        for place, total in enumerate(vectors):
            yield row, place, total
