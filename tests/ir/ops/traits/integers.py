"""Integers at the ends of their types: that wrap around, saturate, or have no meaning."""

from __future__ import annotations

import numpy as np

from planish.ir.ops.traits import Integers, Traits
from planish.ir.ops.traits.schemas import schema_of

from tests.ir.ops.traits.cases import Array, Case, NoRuntimeError
from tests.ir.ops.traits.samples import RNG, F, assert_near

_WIDER = {"int32": "int64", "uint8": "uint64", "int8": "int64"}


def integers(case: Case, t: Traits) -> None:
    """Against the same in 64 bits: equal, equal but for what wraps around, or not equal at all."""
    special = _SPECIAL_INTEGERS.get(case.op)
    if special is not None:
        special(case, t)
        return
    kinds = schema_of(case.op, case.opset).inputs[case.data[0]].types
    narrow = next(dtype for dtype in _WIDER if f"tensor({dtype})" in kinds)
    wide = _WIDER[narrow]
    if f"tensor({wide})" not in kinds:
        assert t.integers == Integers.EXACT  # of MaxPool and DequantizeLinear: against floats
        data = [_ends_of(narrow, case.inputs[i].shape) for i in case.data]
        if "tensor(float)" in kinds:
            assert_near(case.typed(narrow).of(*data), case.of(*(x.astype(F) for x in data)))
        return
    differs, wraps = False, True
    for draw in range(24):
        try:
            found, exact = _both(case, narrow, wide, draw)
        except NoRuntimeError:
            return
        differs |= not np.array_equal(found.astype(exact.dtype), exact)
        wraps &= np.array_equal(found, exact.astype(found.dtype))
        if differs and wraps == (t.integers != Integers.OVERFLOW):
            break
    assert t.integers != Integers.SATURATE
    assert differs == (t.integers != Integers.EXACT)
    assert wraps == (t.integers != Integers.OVERFLOW)


def _both(case: Case, narrow: str, wide: str, draw: int) -> tuple[Array, Array]:
    """Return what comes of the same extreme integers in both types."""
    inputs = list(case.typed(narrow).inputs)
    for position in case.alike:
        inputs[position] = _ends_of(narrow, inputs[position].shape, draw)
    if case.op in ("BitShift", "Pow"):
        inputs[1] = inputs[1] % 7 + 1  # more is undefined
    if case.op in ("Div", "Mod"):
        inputs[1] = np.where(inputs[1] == 0, -1, inputs[1]).astype(narrow)
    grown = [x.astype(wide) if i in case.alike else x for i, x in enumerate(inputs)]
    return case.run(tuple(inputs)), case.run(tuple(grown))


def _ends_of(dtype: str, shape: tuple[int, ...], draw: int = 99) -> Array:
    """Return integers at the ends of the range and around zero; all one in the first draws."""
    info = np.iinfo(dtype)
    ends = [info.max, info.min, info.min + 1, info.max - 1, 0, 1, 2, 3, 100]
    ends += [-1] if info.min < 0 else []
    chosen = ends[draw : draw + 1] or ends
    return RNG.choice(np.array(chosen, object), shape).astype(dtype)


def _cast_integers(case: Case, t: Traits) -> None:
    x = np.array([[2**40 + 3, -(2**40), -7, 1]], np.int64)
    like = (np.zeros(1, np.int32),) if case.op == "CastLike" else ()
    result = case.run((x, *like))
    into = "i" if result.dtype.kind == "i" else "f"
    assert (into == "i") == (t.integers == Integers.WRAP)
    if into == "i":
        np.testing.assert_array_equal(result, x.astype(np.int32))


def _products(case: Case, t: Traits) -> None:
    """Enough of them leave 32 bits."""
    count = 1 << 16
    shapes = {"MatMulInteger": [(1, count), (count, 1)]}.get(case.op, [(1, count, 1, 1)] * 2)
    assert t.integers == Integers.WRAP
    result = case.run(tuple(np.full(shape, 255, np.uint8) for shape in shapes))
    assert result.dtype == np.int32
    assert result.item() == np.int64(255 * 255 * count).astype(np.int32)


def _saturates(case: Case, t: Traits) -> None:
    assert t.integers == Integers.SATURATE
    scale, zero = np.array(1, F), np.array(0, np.uint8)
    if case.op == "QuantizeLinear":
        result = case.run((np.array([-300, 3, 300], F), scale, zero))
        assert result.tolist() == [0, 3, 255]
        return
    data, weight = (np.full(case.inputs[i].shape, 200, np.uint8) for i in (0, 3))
    rest = case.inputs[8:]
    result = case.run((data, scale, zero, weight, scale, zero, scale, zero, *rest))
    assert set(result.reshape(-1).tolist()) == {255}


_SPECIAL_INTEGERS = {
    "Cast": _cast_integers,
    "CastLike": _cast_integers,
    "ConvInteger": _products,
    "MatMulInteger": _products,
    "QLinearConv": _saturates,
    "QLinearMatMul": _saturates,
    "QuantizeLinear": _saturates,
}
