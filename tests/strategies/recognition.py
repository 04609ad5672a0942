"""Operators spelled out as exporters do it, and near-misses that are something else."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from .network import Network, Step


class _Speller:
    """Writes arithmetic on tensors of one shape, in a random order of operands."""

    def __init__(self, net: Network, shape: tuple[int, ...]) -> None:
        self.net, self.shape = net, shape

    def __call__(self, op: str, *operands: str | float, **attrs: object) -> str:
        names = [
            operand if isinstance(operand, str) else self.number(operand) for operand in operands
        ]
        if op in ("Add", "Mul", "Max", "Min") and self.net.draw(st.booleans()):
            names.reverse()
        return self.net.add(op, names, self.shape, **attrs)

    def number(self, value: float) -> str:
        shape = self.net.pick((), (), (1,), (1,) * len(self.shape))
        return self.net.weight(np.full(shape, value, np.float32))

    def scaled(self, x: str, factor: float) -> str:
        """Return factor * x, as a product or as a quotient."""
        if self.net.draw(st.booleans()):
            return self("Mul", x, factor)
        return self("Div", x, 1 / factor)

    def clamp(self, x: str, low: float, high: float) -> str:
        match self.net.pick("Clip", "Relu+Min", "Max+Min", "Min+Max"):
            case "Clip":
                bounds = [self.net.weight(np.array(v, np.float32)) for v in (low, high)]
                return self.net.add("Clip", [x, *bounds], self.shape)
            case "Relu+Min" if low == 0:
                return self("Min", self("Relu", x), high)
            case "Min+Max":
                return self("Max", self("Min", x, high), low)
            case _:
                return self("Min", self("Max", x, low), high)

    def product(self, *factors: str | float) -> str:
        """Return the product, in a random order and association."""
        left: list[str | float] = list(self.net.draw(st.permutations(factors)))
        while len(left) > 1:
            at = self.net.draw(st.integers(0, len(left) - 2))
            a, b = left[at : at + 2]
            numbers = [v for v in (a, b) if isinstance(v, float)]
            tensors = [v for v in (a, b) if isinstance(v, str)]
            made = self.scaled(tensors[0], numbers[0]) if numbers and tensors else self("Mul", a, b)
            left[at : at + 2] = [made]
        return str(left[0])


def _speller(net: Network) -> tuple[_Speller, str]:
    x = net.tensor()
    return _Speller(net, net.shapes[x]), x


def hard_swish(net: Network) -> str:
    s, x = _speller(net)
    shift = net.pick(3.0, 3.0, 2.5)
    clipped = s.clamp(s("Add", x, shift), 0.0, 6.0)
    return s.product(x, clipped, 1 / 6) if net.draw(st.booleans()) else s.scaled(clipped, 1 / 6)


def gelu(net: Network) -> str:
    s, x = _speller(net)
    error = s("Erf", s.scaled(x, math.sqrt(0.5)))
    return s.product(x, s("Add", error, net.pick(1.0, 1.0, 0.5)), 0.5)


def gelu_tanh(net: Network) -> str:
    s, x = _speller(net)
    cube = s("Pow", x, 3.0) if net.draw(st.booleans()) else s("Mul", x, s("Mul", x, x))
    inner = s("Add", x, s("Mul", cube, 0.044715))
    curve = s("Tanh", s.scaled(inner, math.sqrt(2 / math.pi)))
    return s.product(x, s("Add", curve, 1.0), 0.5)


def silu_or_mish(net: Network) -> str:
    s, x = _speller(net)
    match net.pick("silu", "division", "mish", "mish by hand"):
        case "silu":
            return s.product(x, s("Sigmoid", x))
        case "division":
            return s("Div", x, s("Add", s("Exp", s("Neg", x)), 1.0))
        case "mish":
            return s.product(x, s("Tanh", s("Softplus", x)))
        case _:
            return s.product(x, s("Tanh", s("Log", s("Add", s("Exp", x), 1.0))))


def rectifier(net: Network) -> str:
    s, x = _speller(net)
    match net.pick("clamp", "clamp", "leaky", "sum", "softsign", "sigmoid"):
        case "clamp":
            low = net.pick(-1.0, 0.0)
            return s.clamp(s.clamp(x, low, 1.5), 0.0, net.pick(1.0, 6.0))
        case "leaky":
            return s("Max", x, s.scaled(x, 0.1))
        case "sum":
            negative = s("Relu", s("Neg", x))
            return s("Sub", s("Relu", x), s.scaled(negative, 0.25))
        case "softsign":
            return s("Div", x, s("Add", s("Abs", x), 1.0))
        case _:
            return s("Reciprocal", s("Add", s("Exp", s("Neg", x)), 1.0))


def _mean(
    net: Network, x: str, axes: list[int], *, keepdims: int = 1, op: str = "ReduceMean"
) -> str:
    shape = net.shapes[x]
    positive = [axis % len(shape) for axis in axes]
    kept = tuple(
        1 if axis in positive else size
        for axis, size in enumerate(shape)
        if keepdims or axis not in positive
    )
    return net.add(op, [x, net.weight(np.array(axes, np.int64))], kept, keepdims=keepdims)


def normalization(net: Network) -> str:
    """Layer or instance normalization, with or without scale and bias; or of channels alone."""
    s, x = _speller(net)
    shape = net.shapes[x]
    rank = len(shape)
    axes = net.pick([-1], list(range(2, rank)), [1], list(range(1, rank)))
    mean = _mean(net, x, axes)
    centered = s("Sub", x, mean)
    square = s("Pow", centered, 2.0) if net.draw(st.booleans()) else s("Mul", centered, centered)
    variance = _mean(net, square, axes)
    small = _Speller(net, net.shapes[variance])
    spread = small("Sqrt", small("Add", variance, 1e-2))
    if net.draw(st.booleans()):
        y = s("Div", centered, spread)
    else:
        y = s("Mul", centered, small("Reciprocal", spread))
    if net.draw(st.booleans()):
        y = s("Mul", y, net.weight(net.normal(*_affine_shape(net, shape))))
    if net.draw(st.booleans()):
        y = s("Add", y, net.weight(net.normal(*_affine_shape(net, shape))))
    return y


def _affine_shape(net: Network, shape: tuple[int, ...]) -> tuple[int, ...]:
    return net.pick(shape[-1:], (shape[1], *[1] * (len(shape) - 2)), ())


def pooling(net: Network) -> str:
    """Pool over all positions, as a reduction with its axes kept, or as a window."""
    x = net.tensor()
    shape = net.shapes[x]
    axes = list(range(2, len(shape)))
    match net.pick("mean", "maximum", "window", "dropped"):
        case "mean":
            return _mean(net, x, axes)
        case "maximum":
            return _mean(net, x, [axis - len(shape) for axis in axes], op="ReduceMax")
        case "window":
            pooled = (*shape[:2], *[1] * len(axes))
            return net.add(
                net.pick("AveragePool", "MaxPool"), [x], pooled, kernel_shape=list(shape[2:])
            )
        case _:
            flat = _mean(net, x, axes, keepdims=0)
            gate = net.add("Sigmoid", [flat], shape[:2])
            column = net.weight(np.array([0, 0, *[1] * len(axes)], np.int64))
            back = net.add("Reshape", [gate, column], (*shape[:2], *[1] * len(axes)))
            return net.add("Mul", [x, back], shape)


def shuffle(net: Network) -> str:
    """Depth to space or space to depth, or a permutation that is neither."""
    x = net.tensor()
    n, channels, *sizes = net.shapes[x]
    if len(sizes) != 2:
        return x
    h, w = sizes
    if net.draw(st.booleans()):
        if h % 2 or w % 2:
            return x
        middle = (0, channels, h // 2, 2, w // 2, 2)
        perm = net.pick((0, 3, 5, 1, 2, 4), (0, 1, 3, 5, 2, 4))
        result = (channels * 4, h // 2, w // 2)
    else:
        if channels < 4:
            weight = net.weight(net.normal(4, channels, 1, 1))
            x = net.add("Conv", [x, weight], (n, 4, h, w))
            channels = 4
        if channels % 4:
            return x
        crd = net.draw(st.booleans())
        middle = (0, channels // 4, 2, 2, h, w) if crd else (0, 2, 2, channels // 4, h, w)
        right = (0, 1, 4, 2, 5, 3) if crd else (0, 3, 4, 1, 5, 2)
        perm = right if net.draw(st.integers(0, 3)) else ((0, 1, 4, 3, 5, 2) if crd else right)
        result = (channels // 4, h * 2, w * 2)
    # Told to have two dimensions, so that no other step takes the six for an image.
    flat = (n, channels * h * w)
    split = net.add("Reshape", [x, net.weight(np.array(middle, np.int64))], flat)
    moved = net.add("Transpose", [split], flat, perm=list(perm))
    target = net.weight(np.array([net.pick(0, -1), *result], np.int64))
    return net.add("Reshape", [moved, target], (n, *result))


ACTIVATIONS: tuple[Step, ...] = (hard_swish, gelu, gelu_tanh, silu_or_mish, rectifier)
STEPS: tuple[Step, ...] = (*ACTIVATIONS, normalization, pooling, shuffle)
