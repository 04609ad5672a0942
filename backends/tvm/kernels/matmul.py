"""Products of matrices that lie as ONNX has them, row by row.

    y[b, m, n] = sum over k of x[b, m, k] * w[b, k, n]

A tile of rows and a panel of columns is summed in registers. Constant matrices are packed panel by
panel beforehand, padded with zeros, and shared by the whole batch: `w[panel, k, column]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..spec.layout import Array
from .elements import constant
from .frame import function, weights
from .loops import loops, parallel
from .registers import Register, registers

_VECTORS = 2  # of a panel's columns
_SPARE = 2  # registers for what is multiplied


@dataclass(frozen=True, kw_only=True)
class MatMul:
    """Rows of `depth` elements by matrices [depth, columns].

    x is [outer, rows, depth]; there are `outer` matrices, or one if `shared`, and then `rows` is 1.
    `outer` is None where it is not known. `packed`: as constants are.
    """

    outer: int | None
    rows: int
    shared: bool
    depth: int
    columns: int
    packed: bool
    lanes: int
    registers: int

    @property
    def panel(self) -> int:
        """The columns of a panel."""
        return _VECTORS * self.lanes

    @property
    def tile(self) -> int:
        """The rows of a tile."""
        return max(1, (self.registers - _SPARE) // _VECTORS - 1)


def packed(op: MatMul, values: Array) -> Array:
    """Return a matrix [depth, columns] panel by panel: [panels, depth, panel]."""
    missing = -op.columns % op.panel
    wide = np.pad(values, ((0, 0), (0, missing))).reshape(op.depth, -1, op.panel)
    return np.ascontiguousarray(wide.transpose(1, 0, 2))


def matmul(op: MatMul) -> Any:
    """Return the function (x [outer, rows, depth], w, y [outer, rows, columns])."""
    panels = -(-op.columns // op.panel)
    with function("matmul", op.outer) as frame:
        matrix = (panels, op.depth, op.panel) if op.packed else (op.depth, op.columns)
        x = weights("X", (frame.batch, op.rows, op.depth))
        w = weights("W", matrix if op.shared else (frame.batch, *matrix))
        y = weights("Y", (frame.batch, op.rows, op.columns))
        frame.begin()
        matrices, rows = (1, frame.batch) if op.shared else (frame.batch, op.rows)
        whole, rest = divmod(op.columns, op.panel)
        if whole:
            with parallel([matrices, whole]) as (b, panel):
                _panel(op, rows, _Operands(x, w, y, b, panel), [op.lanes] * _VECTORS)
        if rest:
            vectors = [op.lanes] * (rest // op.lanes)
            vectors += [rest % op.lanes] if rest % op.lanes else []
            with parallel([matrices]) as (b,):
                _panel(op, rows, _Operands(x, w, y, b, whole), vectors)
    return frame.func


@dataclass(frozen=True)
class _Operands:
    """What is multiplied, and which matrix and panel of it."""

    x: Any
    w: Any
    y: Any
    matrix: Any
    panel: Any

    def weight(self, op: MatMul, depth: Any, column: Any) -> Any:
        """Return the element of the panel."""
        if op.packed:
            return self.w[self.panel, depth, column]
        place = (depth, self.panel * op.panel + column)
        return self.w[place if op.shared else (self.matrix, *place)]

    def row(self, op: MatMul, row: Any) -> tuple[Any, Any]:
        """Return the first two indices of a row of `x` and `y`."""
        return (row, 0) if op.shared else (self.matrix, row)


def _panel(op: MatMul, rows: Any, at: _Operands, vectors: Sequence[int]) -> None:
    """Emit all rows of a panel, whose columns are `vectors` of some lanes each."""
    tile = op.tile
    if not isinstance(rows, int):
        from tvm import tirx

        with loops(tirx.floordiv(rows, tile)) as (turn,):
            _tile(op, at, turn * tile, tile, vectors)
        with loops(tirx.floormod(rows, tile)) as (row,):
            _tile(op, at, tirx.floordiv(rows, tile) * tile + row, 1, vectors)
        return
    if rows >= tile:
        with loops(rows // tile) as (turn,):
            _tile(op, at, turn * tile, tile, vectors)
    if rows % tile:
        _tile(op, at, rows // tile * tile, rows % tile, vectors)


def _tile(op: MatMul, at: _Operands, first: Any, rows: int, vectors: Sequence[int]) -> None:
    from tvm.tirx.script.builder import ir as T

    totals = [[registers(1, lanes)[0] for lanes in vectors] for _ in range(rows)]
    for total in (one for row in totals for one in row):
        total.set(lambda _: constant(0.0))
    with loops(op.depth) as (k,):
        for row, place, total in _each(totals):
            x = at.x[(*at.row(op, first + row), k)]
            _add(total, x, lambda lane: at.weight(op, k, place * op.lanes + lane))
    for row, place, total in _each(totals):
        column = at.panel * op.panel + place * op.lanes
        with T.vectorized(0, total.lanes) as lane:
            T.buffer_store(at.y, total[lane], [*at.row(op, first + row), column + lane])


def _add(total: Register, x: Any, weight: Any) -> None:
    total.set(lambda lane: total[lane] + x * weight(lane))


def _each(totals: Sequence[Sequence[Register]]) -> Iterator[tuple[int, int, Register]]:
    for row, vectors in enumerate(totals):
        for place, total in enumerate(vectors):
            yield row, place, total
