"""Element-wise ONNX operators on one float32, as expressions that LLVM turns into vector code.

A NaN passes through: `max(a, b)` here is `a > b ? a : b`, so the value that may be NaN is second.

An expression is a tree: what is read several times is written down as often, and of one behind the
other the tree grows without end. `hold` computes what it is given, and returns where it is.

Source: ONNX operators of the same names. Exponential: Moshier, Cephes, `expf` (range reduction by
ln 2 in two parts and a polynomial of degree 5; within 2 units in the last place). Error function:
Juffa, "Efficiently computing the error function in single precision" (two minimax polynomials).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Expr = Any
Attrs = Mapping[str, Any]
_LAST = float(np.finfo(np.float32).max)
# Its neighbours are whole numbers, and its low 22 bits are 0.
_WHOLE = 1.5 * 2**23
Hold = Callable[[Expr], Expr]
Scalar = Callable[[list[Expr], Attrs, Hold], Expr]


def written_out(x: Expr) -> Expr:
    """Hold nothing."""
    return x


def _const(value: float) -> Expr:
    from tvm import tirx

    return tirx.const(value, "float32")


def _max(bound: Expr, x: Expr) -> Expr:
    from tvm import tirx

    return tirx.max(bound, x)


def _min(bound: Expr, x: Expr) -> Expr:
    from tvm import tirx

    return tirx.min(bound, x)


def _select(condition: Expr, a: Expr, b: Expr) -> Expr:
    from tvm import tirx

    return tirx.Select(condition, a, b)


def exp(x: Expr, hold: Hold = written_out) -> Expr:
    """Return e^x: finite above 88.37, and 0 below -87.3 but for one denormal's width."""
    power, rest = _exponential(x, hold)
    return power * (rest + _const(1.0))


def expm1(x: Expr, hold: Hold = written_out) -> Expr:
    """Return e^x - 1, as exact near 0 as elsewhere: 2^k (e^r - 1) + (2^k - 1)."""
    power, rest = _exponential(x, hold)
    power = hold(power)
    return power * rest + (power - _const(1.0))


def _exponential(x: Expr, hold: Hold) -> tuple[Expr, Expr]:
    """Return 2^k and e^r - 1, where x = k ln 2 + r and k is 0 up to ln 2 / 2."""
    from tvm import tirx

    clipped = hold(_max(_const(-87.33654), _min(_const(88.37626), x)))
    count = hold(tirx.floor(clipped * _const(math.log2(math.e)) + _const(0.5)))
    rest = hold(clipped - count * _const(0.693359375) - count * _const(-2.12194440e-4))
    series = _const(1.9875691500e-4)
    for factor in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5):
        series = series * rest + _const(factor)
    exponent = (tirx.Cast("int32", count) + 127) << 23
    return tirx.reinterpret("float32", exponent), series * rest * rest + rest


def sigmoid(x: Expr, hold: Hold = written_out) -> Expr:
    """Return 1 / (1 + e^-x), not below e^-40: denormal numbers would slow what reads them."""
    return _const(1.0) / (_const(1.0) + exp(_min(_const(40.0), _const(0.0) - x), hold))


def tanh(x: Expr, hold: Hold = written_out) -> Expr:
    """Return m / (m + 2), m = e^2x - 1: near 0 it is as small as x."""
    power = hold(expm1(x * _const(2.0), hold))
    return power / (power + _const(2.0))


def erf(x: Expr, hold: Hold = written_out) -> Expr:
    """Return the error function: within 1.1 units in the last place.

    Near 0 it is x + x P(x^2), elsewhere 1 - e^-Q(|x|) with the sign of x.
    """
    from tvm import tirx

    x = hold(x)
    size, square = tirx.abs(x), hold(x * x)
    far = _const(-1.72853470e-5) * size + _const(3.83197126e-4)
    far = far * square + (_const(-3.88396438e-3) * size + _const(2.42546219e-2))
    for factor in (-1.06777877e-1, -6.34846687e-1, -1.28717512e-1):
        far = far * size + _const(factor)
    above = hold(_const(1.0) - exp(far * size - size, hold))
    near = _const(-5.96761703e-4)
    for factor in (4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1):
        near = near * square + _const(factor)
    signed = _select(x < _const(0.0), _const(0.0) - above, above)
    return _select(size > _const(0.927734375), signed, near * x + x)


def gelu(x: Expr, hold: Hold = written_out) -> Expr:
    """Return x (1 + erf(x / sqrt(2))) / 2."""
    x = hold(x)
    return _const(0.5) * x * (_const(1.0) + erf(x * _const(math.sqrt(0.5)), hold))


def relu(x: Expr) -> Expr:
    """Return max(x, 0)."""
    return _max(_const(0.0), x)


def _clip(inputs: list[Expr], attrs: Attrs, hold: Hold) -> Expr:
    """Clip; an absent bound is the last finite number, as in ONNX Runtime."""
    low, high = (float(attrs.get(name, end)) for name, end in (("min", -_LAST), ("max", _LAST)))
    return _min(_const(high), _max(_const(low), inputs[0]))


def _hard_sigmoid(inputs: list[Expr], attrs: Attrs, hold: Hold) -> Expr:
    alpha, beta = float(attrs.get("alpha", 0.2)), float(attrs.get("beta", 0.5))
    return _min(_const(1.0), relu(inputs[0] * _const(alpha) + _const(beta)))


def _leaky(inputs: list[Expr], attrs: Attrs, hold: Hold) -> Expr:
    x = inputs[0]
    return _select(x < _const(0.0), x * _const(float(attrs.get("alpha", 0.01))), x)


def _elu(inputs: list[Expr], attrs: Attrs, hold: Hold) -> Expr:
    x, alpha = inputs[0], _const(float(attrs.get("alpha", 1.0)))
    return _select(x < _const(0.0), alpha * expm1(x, hold), x)


def _celu(inputs: list[Expr], attrs: Attrs, hold: Hold) -> Expr:
    x, alpha = inputs[0], _const(float(attrs.get("alpha", 1.0)))
    return _select(x < _const(0.0), alpha * expm1(x / alpha, hold), x)


def _selu(inputs: list[Expr], attrs: Attrs, hold: Hold) -> Expr:
    alpha = float(attrs.get("alpha", 1.67326319217681884765625))
    gamma = float(attrs.get("gamma", 1.05070102214813232421875))
    return _const(gamma) * _elu(inputs, {"alpha": alpha}, hold)


def _prelu(inputs: list[Expr], attrs: Attrs, hold: Hold) -> Expr:
    x, slope = inputs
    return _select(x < _const(0.0), x * slope, x)


def _fold(combine: Callable[[Expr, Expr], Expr]) -> Scalar:
    def run(inputs: list[Expr], attrs: Attrs, hold: Hold) -> Expr:
        total = inputs[0]
        for other in inputs[1:]:
            total = combine(total, other)
        return total

    return run


def _unary(function: Callable[[Expr], Expr]) -> Scalar:
    return lambda inputs, attrs, hold: function(inputs[0])


def _held(function: Callable[[Expr, Hold], Expr]) -> Scalar:
    return lambda inputs, attrs, hold: function(inputs[0], hold)


def _tir(name: str) -> Callable[[Expr], Expr]:
    def run(x: Expr) -> Expr:
        from tvm import tirx

        return getattr(tirx, name)(x)

    return run


def _quotient(x: Expr, divisor: float, clipped: Callable[[Expr], Expr]) -> Expr:
    """Return x / divisor, rounded once as a division is and `clipped`, in products and sums.

    The product with the reciprocal alone is a rounding off, and what lies halfway between two whole
    numbers would go to the wrong one. Source: Markstein, Computation of Elementary Functions on the
    IBM RISC System/6000 Processor, IBM Journal of Research and Development 1990 (theorem 7.2).
    """
    inverse = _const(float(np.float32(1) / np.float32(divisor)))
    near = clipped(x * inverse)
    rest = _fused(_const(0.0) - near, _const(divisor), x)
    return clipped(_fused(rest, inverse, near))


def _fused(a: Expr, b: Expr, c: Expr) -> Expr:
    """Return a * b + c, rounded once."""
    from tvm import tirx

    return tirx.call_llvm_pure_intrin("float32", "llvm.fma", a, b, c)


def _round(x: Expr) -> Expr:
    """Return `x` as a whole number, halves to even."""
    from tvm import tirx

    # tirx.nearbyint does the same, but one lane at a time.
    return tirx.call_llvm_pure_intrin("float32", "llvm.roundeven", x)


def _scaled(x: Expr, attrs: Attrs) -> Expr:
    """Return x / scale, no further out than what is in range."""
    scale, zero = float(np.float32(attrs["scale"])), attrs["zero"]
    low, high = _const(attrs["low"] - zero), _const(attrs["high"] - zero)

    def clipped(x: Expr) -> Expr:
        return _min(high, _max(low, x))

    return clipped(x) if scale == 1.0 else _quotient(x, scale, clipped)


def _quantize(inputs: list[Expr], attrs: Attrs, hold: Hold) -> Expr:
    """Return the quantized number, still a float32: whole and in range."""
    whole = _round(_scaled(inputs[0], attrs))
    return whole + _const(attrs["zero"]) if attrs["zero"] else whole


def quantized_bits(x: Expr, attrs: Attrs) -> Expr:
    """Return an int32 whose low byte is the quantized number; the others are anything.

    A float32 of this size has whole numbers alone, so that adding it rounds, halves to even.
    """
    from tvm import tirx

    bits = tirx.reinterpret("int32", _scaled(x, attrs) + _const(_WHOLE))
    return bits + int(attrs["zero"]) if attrs["zero"] else bits


def _dequantize(inputs: list[Expr], attrs: Attrs, hold: Hold) -> Expr:
    return (inputs[0] - _const(attrs["zero"])) * _const(attrs["scale"])


SCALARS: dict[str, Scalar] = {
    "Abs": _unary(_tir("abs")),
    "Add": _fold(lambda a, b: a + b),
    "Cast": _unary(lambda x: x),
    "Ceil": _unary(_tir("ceil")),
    "Celu": _celu,
    "Clip": _clip,
    "DequantizeLinear": _dequantize,
    "Div": _fold(lambda a, b: a / b),
    "Elu": _elu,
    "Erf": _held(erf),
    "Floor": _unary(_tir("floor")),
    "Gelu": _held(gelu),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary(lambda x: x * _min(_const(1.0), relu(x * _const(1 / 6) + _const(0.5)))),
    "LeakyRelu": _leaky,
    "Mul": _fold(lambda a, b: a * b),
    "Neg": _unary(lambda x: _const(0.0) - x),
    "PRelu": _prelu,
    "QuantizeLinear": _quantize,
    "Reciprocal": _unary(lambda x: _const(1.0) / x),
    "Relu": _unary(relu),
    "Round": _unary(_round),
    "Selu": _selu,
    "Sigmoid": _held(sigmoid),
    "Sqrt": _unary(_tir("sqrt")),
    "Sub": _fold(lambda a, b: a - b),
    "Tanh": _held(tanh),
}


@functools.cache
def holds_of(op: str, inputs: int, attrs: tuple[tuple[str, Any], ...]) -> int:
    """Return how many times `op` asks `hold`, with so many inputs."""
    asked = []

    def hold(x: Expr) -> Expr:
        asked.append(x)
        return _const(0.5)

    SCALARS[op]([_const(0.5)] * inputs, dict(attrs), hold)
    return len(asked)
