"""The frame of a loop nest: a function under construction and its operands."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..spec.layout import BufferSpec
from ..spec.lookup import Words
from .elements import FLOAT, converted, real

INDEPENDENT = "planish.independent"  # no parallel loop of the function reads what another writes


@dataclass
class Frame:
    """A function under construction; `func` is set when the frame closes.

    `batch` is the number of images: a number, or a variable bound by the operands' shapes.
    `independent`: no parallel loop reads what another one writes.
    """

    batch: Any
    func: Any = None
    independent: bool = True
    operands: list[Operand] = field(default_factory=list)
    body: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def begin(self) -> None:
        """End the parameters: every operand is seen with three spatial axes from here on."""
        from tvm.tirx.script.builder import ir as T

        # Relax's passes look for a block at the top of every function.
        self.body.enter_context(T.sblock("root"))
        for one in self.operands:
            wanted = one.spec.shape3(self.batch)
            if one.declared != wanted:
                one.buffer = T.decl_buffer(wanted, one.spec.dtype, data=one.buffer.data)


@dataclass
class Operand:
    """A parameter of the function, seen through its spec."""

    buffer: Any
    spec: BufferSpec
    declared: tuple[Any, ...]

    def load(self, n: Any, block: Any, at: Sequence[Any], lane: Any) -> Any:
        """Return the element of image `n`, channel (`block`, `lane`) at the position `at`."""
        return real(self.stored(n, block, at, lane), self.spec)

    def load_broadcast(self, n: Any, block: Any, at: Sequence[Any], lane: Any) -> Any:
        """Return the element at `at` in a larger tensor: here, axes of size 1 have one position."""
        return self.load(n, block, self.spec.broadcast(at), lane)

    def stored(self, n: Any, block: Any, at: Sequence[Any], lane: Any) -> Any:
        """Return what is stored for that element; `lane` may be a row of them."""
        return self.buffer[tuple(self.spec.index(n, block, at, lane))]

    def store(self, value: Any, n: Any, block: Any, at: Sequence[Any], lane: Any) -> None:
        """Emit a store to that element, in its type."""
        from tvm.tirx.script.builder import ir as T

        value = converted(value, self.spec.dtype)
        T.buffer_store(self.buffer, value, self.spec.index(n, block, at, lane))


@dataclass(frozen=True)
class OperandsAt:
    """The operands of a chain for the element of a result at `at`, of image `n`."""

    operands: Sequence[Operand]
    n: Any
    block: Any
    at: Sequence[Any]
    lane: Any

    def element(self, position: int) -> Any:
        """Return the element of an operand, which may be smaller than the result."""
        return self.operands[position].load_broadcast(self.n, self.block, self.at, self.lane)

    def words(self, position: int) -> Words:
        """Return the table that an operand is, the same for all elements."""
        table = self.operands[position]
        lanes, origin = table.spec.lanes, (0, 0, 0)
        vectors = [table.stored(0, i, origin, self.lane) for i in range(len(table.spec.blocks))]
        return Words(
            tuple(vectors),
            lambda index: table.stored(0, index // lanes, origin, index % lanes),
        )


@contextlib.contextmanager
def function(name: str, batch: int | None) -> Iterator[Frame]:
    """Open a function; TVM is told that its operands do not overlap and that it is finished."""
    from tvm import tirx
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script.builder import ir as T

    frame = Frame(tirx.Var("n", "int64") if batch is None else batch)
    with IRBuilder() as builder:
        with T.prim_func(s_tir=True):
            T.func_name(name)
            T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True, "op_pattern": 8})
            with frame.body:
                yield frame
        frame.func = builder.get()
        if frame.independent:
            frame.func = frame.func.with_attr(INDEPENDENT, True)


def operand(frame: Frame, name: str, spec: BufferSpec, flattened: bool = False) -> Operand:
    """Declare a parameter; `flattened`: its positions are counted along one axis."""
    from tvm.tirx.script.builder import ir as T

    shape = spec.shape(frame.batch)
    buffer = T.arg(name, T.buffer(shape, spec.dtype))
    found = Operand(buffer, flat(spec) if flattened else spec, shape)
    frame.operands.append(found)
    return found


def operands(
    frame: Frame, name: str, specs: Sequence[BufferSpec], flattened: bool = False
) -> list[Operand]:
    """Declare the operands of a chain."""
    return [operand(frame, f"{name}{i}", spec, flattened) for i, spec in enumerate(specs)]


def weights(name: str, shape: Sequence[int], dtype: str = FLOAT) -> Any:
    """Declare a parameter of constants."""
    from tvm.tirx.script.builder import ir as T

    return T.arg(name, T.buffer(tuple(shape), dtype))


def flat(spec: BufferSpec) -> BufferSpec:
    """Return `spec` with all positions on the last axis; it has no halo."""
    size = math.prod(spec.spatial)
    return replace(spec, spatial=(1, 1, size), halo=((0, 0),) * 3)


def can_flatten(specs: Sequence[BufferSpec]) -> bool:
    """Say whether positions of these tensors can be counted along one axis: no halos between."""
    return all(not any(map(any, spec.halo)) for spec in specs)
