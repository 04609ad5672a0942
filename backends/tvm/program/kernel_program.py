"""A Relax program that calls kernels: each is made once, and may write into a larger buffer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ..graph.concat import ConcatBuffer, ConcatPlacement
from ..spec.calls import KernelCall
from ..spec.layout import BufferSpec
from .program import Enclosing, Program

_LAYOUT = "another layout"  # what a kernel does that is of no node


@dataclass(frozen=True)
class KernelMaker:
    """A kernel to be called: `make(op)` gives its loop nest, and its name begins with `name`.

    `moves`: it is of no node.
    """

    name: str
    op: Any
    make: Callable[[Any], Any]
    moves: bool = False


@dataclass
class WrittenBuffer:
    """The buffer of a concatenation after the last write so far, and the parts that are in it."""

    expr: Any = None
    parts: set[int] = field(default_factory=set)


class KernelProgram(Program):
    """A program and the kernels it calls; `nodes` are those that are being emitted."""

    def __init__(
        self,
        view: View,
        elsewhere: frozenset[str] = frozenset(),
        enclosing: Enclosing | None = None,
    ) -> None:
        super().__init__(view, elsewhere, enclosing)
        self._prefix = "" if enclosing is None else enclosing.prefix
        self.nodes: tuple[gs.Node, ...] = ()
        self._kernels: dict[Any, Any] = {}
        self._written: dict[int, WrittenBuffer] = {}

    def call(
        self,
        kernel: KernelMaker,
        args: Sequence[Any],
        y: BufferSpec,
        batch: Any,
        placement: ConcatPlacement | None = None,
    ) -> Any:
        """Emit a call of `kernel`, made once for equal operators, and return its result.

        With a `placement` it writes its range of a buffer, which the first part makes.
        """
        from tvm import relax, tirx

        function = self._function(kernel)
        self._note_sized(kernel, str(function.name_hint), batch)
        if kernel.moves:
            self.calls.append(KernelCall(str(function.name_hint), (), kernel.op, (_LAYOUT,)))
        else:
            self.note_call(str(function.name_hint), self.nodes, kernel.op)
        kind = relax.TensorType(list(y.shape(batch)), y.dtype)
        if placement is None:
            return self.builder.emit(relax.call_tir(function, list(args), kind))
        buffer = self.written(placement.buffer)
        given = [*args, tirx.IntImm("int64", placement.first)]
        if buffer.expr is None:
            call = relax.call_tir(function, given, kind)
        else:
            call = relax.call_tir_inplace(function, [*given, buffer.expr], len(given), kind)
        buffer.expr = self.builder.emit(call)
        buffer.parts.add(placement.index)
        return buffer.expr

    def written(self, buffer: ConcatBuffer) -> WrittenBuffer:
        """Return how much of `buffer` is written so far."""
        return self._written.setdefault(id(buffer), WrittenBuffer())

    def _function(self, kernel: KernelMaker) -> Any:
        if kernel.op not in self._kernels:
            unique = f"{self._prefix}{kernel.name}_{len(self._kernels)}"
            function = self._made(kernel).with_attr("global_symbol", unique)
            self._kernels[kernel.op] = self.builder.add_func(function, unique)
        return self._kernels[kernel.op]

    def _note_sized(self, kernel: KernelMaker, name: str, images: Any) -> None:
        """Note what `kernel`, called for so many images, is for one image of the network."""

    def _made(self, kernel: KernelMaker) -> Any:
        return kernel.make(kernel.op)

    @property
    def kernels(self) -> dict[Any, str]:
        """The kernels made so far: what each computes, and its name."""
        return {op: str(found.name_hint) for op, found in self._kernels.items()}
