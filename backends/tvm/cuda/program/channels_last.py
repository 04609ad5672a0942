"""A Relax program under construction, whose tensors are held channels last, first, or both.

    x[n, c, z, y, x]  ->  buffer[n, z, y, x, c]

Channels last is what the network runs in: neighbouring threads read neighbouring channels, whatever
the size of an image, and the channels are the inner axis of the matrix product that a convolution
is. ONNX's own order stands at the borders, and where an operator has no other form.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.graph.view import View
from ...program.program import Program
from ...program.value import shape_of


class ChannelsLastProgram(Program):
    """The main function, its constants, and what holds each tensor of the graph."""

    def __init__(self, view: View, elsewhere: frozenset[str] = frozenset()) -> None:
        super().__init__(view, elsewhere)
        self._first: dict[int, Any] = {}
        self._last: dict[int, Any] = {}

    def define_plain(self, tensor: gs.Tensor, expr: Any) -> None:
        """Record that `expr`, in ONNX's own order, holds `tensor`."""
        self._first[id(tensor)] = expr
        self._alive.append(tensor)

    def define_last(self, tensor: gs.Tensor, expr: Any) -> None:
        """Record that `expr`, channels last, holds `tensor`."""
        if len(shape_of(expr) or ()) < 3:
            self._first[id(tensor)] = expr
        self._last[id(tensor)] = expr
        self._alive.append(tensor)

    def is_last(self, tensor: gs.Tensor) -> bool:
        """Say whether `tensor` is held channels last."""
        return id(tensor) in self._last

    def plain(self, tensor: gs.Tensor) -> Any:
        """Return the expression of `tensor` in ONNX's own order."""
        if id(tensor) not in self._first:
            if isinstance(tensor, gs.Constant):
                expr = self.constant(np.asarray(tensor.values))
            else:
                held = self._last[id(tensor)]
                rank = len(shape_of(held) or ())
                expr = self._permuted(held, [0, rank - 1, *range(1, rank - 1)])
            self.define_plain(tensor, expr)
        return self._first[id(tensor)]

    def last(self, tensor: gs.Tensor) -> Any:
        """Return the expression of `tensor`, channels last."""
        if id(tensor) not in self._last:
            first = self.plain(tensor)
            rank = len(shape_of(first) or ())
            moved = [0, *range(2, rank), 1]
            self.define_last(tensor, self._permuted(first, moved) if rank > 2 else first)
        return self._last[id(tensor)]

    def operand(self, tensor: gs.Tensor, rank: int) -> Any:
        """Return `tensor` so that it broadcasts to results of `rank` axes, channels last."""
        if isinstance(tensor, gs.Constant):
            values = np.asarray(tensor.values)
            if values.size == 1 and values.ndim <= rank:
                return self.constant(np.atleast_1d(values))
            values = values.reshape(*[1] * (rank - values.ndim), *values.shape)
            return self.constant(np.moveaxis(values, 1, -1))
        from tvm import relax

        shape = () if self.is_last(tensor) else shape_of(self.plain(tensor))
        if not shape or len(shape) == rank:
            return self.last(tensor)
        whole = relax.op.reshape(self.plain(tensor), [*[1] * (rank - len(shape)), *shape])
        return self._permuted(self.builder.emit(whole), [0, *range(2, rank), 1])

    def _permuted(self, expr: Any, axes: list[int]) -> Any:
        from tvm import relax

        return self.builder.emit(relax.op.permute_dims(expr, axes))
