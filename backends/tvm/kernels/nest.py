"""What all loop nests share: a function's frame, its operands, and loops over many axes at once."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..spec.chain import Chain
from ..spec.layout import Form

FLOAT = "float32"
HALF = "bfloat16"


@dataclass
class Frame:
    """A function under construction; `func` is set when the frame closes.

    `batch` is the number of images: a number, or a variable bound by the operands' shapes.
    """

    batch: Any
    func: Any = None
    operands: list[Operand] = field(default_factory=list)
    body: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def ready(self) -> None:
        """End the parameters: every operand is seen with three spatial axes from here on."""
        from tvm.tirx.script.builder import ir as T

        # Relax's passes look for a block at the top of every function.
        self.body.enter_context(T.sblock("root"))
        for one in self.operands:
            wanted = one.form.shape3(self.batch)
            if one.declared != wanted:
                one.buffer = T.decl_buffer(wanted, one.form.dtype, data=one.buffer.data)


@dataclass
class Operand:
    """A parameter of the function, seen through its form."""

    buffer: Any
    form: Form
    declared: tuple[Any, ...]

    def load(self, n: Any, block: Any, at: Sequence[Any], lane: Any) -> Any:
        """Return the element of image `n`, channel (`block`, `lane`) at the position `at`."""
        return real(self.stored(n, block, at, lane), self.form)

    def stored(self, n: Any, block: Any, at: Sequence[Any], lane: Any) -> Any:
        """Return what is stored for that element; `lane` may be a row of them."""
        return self.buffer[tuple(self.form.index(n, block, at, lane))]

    def store(self, value: Any, n: Any, block: Any, at: Sequence[Any], lane: Any) -> None:
        """Emit a store to that element, in its type."""
        from tvm.tirx.script.builder import ir as T

        value = converted(value, self.form.dtype)
        T.buffer_store(self.buffer, value, self.form.index(n, block, at, lane))


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


def operand(frame: Frame, name: str, form: Form, seen: Form | None = None) -> Operand:
    """Declare a parameter; `seen` is another form of the same memory, such as flattened axes."""
    from tvm.tirx.script.builder import ir as T

    shape = form.shape(frame.batch)
    found = Operand(T.arg(name, T.buffer(shape, form.dtype)), seen or form, shape)
    frame.operands.append(found)
    return found


def operands(frame: Frame, name: str, forms: Sequence[Form], flattened: bool) -> list[Operand]:
    """Declare the operands of a chain."""
    return [
        operand(frame, f"{name}{i}", form, _seen(form, flattened)) for i, form in enumerate(forms)
    ]


def weights(name: str, shape: Sequence[int], dtype: str = FLOAT) -> Any:
    """Declare a parameter of constants."""
    from tvm.tirx.script.builder import ir as T

    return T.arg(name, T.buffer(tuple(shape), dtype))


def flat(form: Form) -> Form:
    """Return the form with all positions on the last axis; the form has no halo."""
    size = math.prod(form.spatial)
    return replace(form, spatial=(1, 1, size), halo=((0, 0),) * 3)


def can_flatten(forms: Sequence[Form]) -> bool:
    """Say whether positions of these forms can be counted along one axis: no halos between."""
    return all(not any(map(any, form.halo)) for form in forms)


@contextlib.contextmanager
def parallel(extents: Sequence[Any]) -> Iterator[list[Any]]:
    """Open one parallel loop over all `extents`, and give the position along each."""
    from tvm.tirx.script.builder import ir as T

    total: Any = 1
    for extent in extents:
        total = extent * total
    with T.parallel(0, total) as counter:
        yield unravel(counter, extents)


def unravel(counter: Any, extents: Sequence[Any]) -> list[Any]:
    """Return the position along each axis for a counter over all of them."""
    from tvm import tirx

    places: list[Any] = []
    rest = counter
    for extent in reversed(extents[1:]):
        if isinstance(extent, int) and extent == 1:
            places.append(0)
            continue
        places.append(tirx.floormod(rest, extent))
        rest = tirx.floordiv(rest, extent)
    first = extents[0]
    places.append(0 if isinstance(first, int) and first == 1 else rest)
    return places[::-1]


def affine(at: Sequence[Any], factors: Sequence[Any], offsets: Sequence[Any]) -> list[Any]:
    """Return `at` * `factors` + `offsets`, axis by axis."""
    return [a * factor + o for a, factor, o in zip(at, factors, offsets, strict=True)]


def ravel(places: Sequence[Any], inner: Sequence[int]) -> Any:
    """Return the counter for a position along every axis; `inner`: the extents but the first."""
    counter = places[0]
    for place, extent in zip(places[1:], inner, strict=True):
        counter = counter * extent + place
    return counter


@contextlib.contextmanager
def loops(*extents: Any, kind: str = "serial") -> Iterator[list[Any]]:
    """Open nested loops of one kind; an axis of size 1 has no loop."""
    from tvm.tirx.script.builder import ir as T

    with contextlib.ExitStack() as stack:
        places = []
        for extent in extents:
            if isinstance(extent, int) and extent == 1:
                places.append(0)
            else:
                places.append(stack.enter_context(getattr(T, kind)(0, extent)))
        yield places


def zero_halo(frame: Frame, y: Operand) -> None:
    """Emit stores of what stands for zero to the border of every block that `y` covers."""
    from tvm.tirx.script.builder import ir as T

    form = y.form
    if not any(map(any, form.halo)):
        return
    zero = constant(form.zero, form.dtype)
    kind = "serial" if form.dtype == HALF else "vectorized"  # TVM has no vector of constants then
    count = len(form.blocks)
    lows = [low for low, _ in form.halo]
    with parallel([frame.batch, count]) as (n, block):
        for axis in range(3):
            low, high = form.halo[axis]
            starts = [(0, low), (low + form.spatial[axis], high)]
            # Corners belong to the first axis that is outside.
            extents = [
                form.spatial[other] if other < axis else form.padded[other] for other in range(3)
            ]
            base = [lows[other] if other < axis else 0 for other in range(3)]
            for start, width in starts:
                if not width:
                    continue
                sizes = [*extents]
                sizes[axis] = width
                origin = [*base]
                origin[axis] = start
                with loops(*sizes) as at, loops(form.lanes, kind=kind) as (lane,):
                    place = [o + a for o, a in zip(origin, at, strict=True)]
                    T.buffer_store(y.buffer, zero, [n, block + form.first, *place, lane])


def real(stored: Any, form: Form) -> Any:
    """Return the number that what is stored in a buffer of `form` stands for."""
    number = converted(stored, number_type(form) if form.scale is None else "int32")
    if form.scale is None:
        return number
    return converted(number - form.zero, FLOAT) * constant(form.scale)


def converted(value: Any, dtype: str) -> Any:
    """Return `value` as another type; a float32 that becomes a byte is whole and in range."""
    from tvm import tirx

    types = {str(value.ty.dtype), dtype}
    if len(types) == 1:
        return value
    # There are instructions between bytes and float32 only by way of int32.
    return tirx.Cast(dtype, value if HALF in types else tirx.Cast("int32", value))


def number_type(form: Form) -> str:
    """Return the type of what `Operand.load` gives."""
    return FLOAT if form.scale is not None or form.dtype == HALF else form.dtype


def least(dtype: str) -> Any:
    """Return what no number of this type is below."""
    return constant(-math.inf if dtype == FLOAT else int(np.iinfo(dtype).min), dtype)


def constant(value: float, dtype: str = FLOAT) -> Any:
    """Return a constant of this type."""
    from tvm import tirx

    return tirx.const(value, dtype)


@dataclass
class Finish:
    """Applies a kernel's chain to its result and stores it."""

    chain: Chain
    y: Operand
    extras: list[Operand] = field(default_factory=list)

    @classmethod
    def declare(cls, frame: Frame, chain: Chain, y: Form, flattened: bool = False) -> Finish:
        """Declare the parameters of `chain`, then the output, which comes last.

        Before it comes the number of its first block, where the form does not say it.
        """
        from tvm.tirx.script.builder import ir as T

        extras = operands(frame, "E", chain.extras, flattened)
        if y.first is None:
            y = replace(y, first=T.arg("first", T.int64()))
        return cls(chain, operand(frame, "Y", y, _seen(y, flattened)), extras)

    def store(self, value: Any, n: Any, block: Any, at: Sequence[Any], lane: Any) -> None:
        """Emit the chain over `value` and the store of what it gives."""
        if self.chain.steps:
            value = converted(value, FLOAT)
        found = self.chain.apply(value, lambda i: self.extras[i].load(n, block, at, lane))
        self.y.store(found, n, block, at, lane)


def _seen(form: Form, flattened: bool) -> Form | None:
    return flat(form) if flattened and math.prod(form.spatial) > 1 else None
