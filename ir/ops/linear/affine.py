"""Operators that scale and shift every channel, read as one thing.

    y = scale * x + shift       a channel, for BatchNormalization at inference, x * c, x / c,
                                x + c, x - c, c - x and -x with a constant c

(Ioffe and Szegedy, "Batch Normalization", ICML 2015, section 3.1; ONNX operators
BatchNormalization, Mul, Div, Add, Sub and Neg.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...core import dtypes
from ...core.decline import DeclinedError, need
from ...core.variables import is_standard
from ...graph.view import View
from ..opsets import aligns
from ..training import need_inference
from .conditioning import need_conditioned, need_in_range
from .layer import channel_vector

Array = np.ndarray[Any, Any]

ELEMENTWISE_OPS = frozenset({"Mul", "Div", "Add", "Sub", "Neg"})
AFFINE_OPS = ELEMENTWISE_OPS | {"BatchNormalization"}

# No channel vector is longer; larger constants are maps, and not worth reading.
_MOST_VALUES = 1 << 16


@dataclass(frozen=True)
class Affine:
    """A node that computes scale * x + shift with constants, in float64.

    The arrays broadcast against the source; those of a BatchNormalization are [C], on axis 1.
    `typical` are center and spread [C] of what a BatchNormalization gives: its bias and |scale|.
    """

    node: gs.Node
    source: gs.Tensor
    scale: Array
    shift: Array
    typical: tuple[Array, Array] | None = None

    @property
    def result(self) -> gs.Tensor:
        """The tensor it gives."""
        return self.node.outputs[0]

    @property
    def is_batchnorm(self) -> bool:
        """Say whether it is a BatchNormalization."""
        return bool(self.node.op == "BatchNormalization")

    @property
    def adds(self) -> bool:
        """Say whether it adds something, be it zero."""
        return self.is_batchnorm or self.node.op in ("Add", "Sub")

    def on_channels(self, rank: int | None, axis: int, channels: int) -> tuple[Array, Array] | None:
        """Return (scale, shift), both [channels], of a source of this rank; None where it has none.

        None also where broadcasting would give the result another shape than the source.
        """
        if self.is_batchnorm:
            placed = axis == 1 or (rank is not None and axis + rank == 1)
            return (self.scale, self.shift) if placed and len(self.scale) == channels else None
        scale = channel_vector(self.scale, rank, axis, channels)
        shift = channel_vector(self.shift, rank, axis, channels)
        return None if scale is None or shift is None else (scale, shift)


@dataclass(frozen=True, kw_only=True)
class Composition:
    """The map scale * x + shift of a chain, and what its steps are like on the way.

    `typical` are center and spread of what it gives, None without a BatchNormalization in the
    chain: how large x is, nothing else tells. `passed` is how much of the result a shift on the way
    was, `low` and `high` are the least and largest scale.
    """

    scale: Array
    shift: Array
    typical: tuple[Array, Array] | None = None
    passed: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, shift: Array) -> Composition:
        """Return the map x + shift, of an x that `shift` is added to before anything is seen."""
        one = np.ones_like(shift)
        return cls(scale=one, shift=shift, passed=np.zeros_like(shift), low=one, high=one)

    def then(self, scale: Array, shift: Array, typical: tuple[Array, Array] | None) -> Composition:
        """Return the map of scale * y + shift for what this one gives, y."""
        with np.errstate(invalid="ignore", over="ignore"):
            if typical is None and self.typical is not None:
                center, spread = self.typical
                typical = scale * center + shift, np.abs(scale) * spread
            total, size = scale * self.scale, np.abs(scale * self.scale)
            return Composition(
                scale=total,
                shift=scale * self.shift + shift,
                typical=typical,
                passed=np.maximum(self.passed, np.abs(self.shift)) * np.abs(scale),
                low=np.minimum(self.low, size),
                high=np.maximum(self.high, size),
            )

    def need_conditioned(self, dtype: Any) -> None:
        """Decline where what it takes on the way, not only its result, decides what it gives."""
        size = np.abs(self.shift)
        for part in self.typical or ():
            size = np.maximum(size, np.abs(part))
        need_conditioned(self.passed, size, dtype)
        need_in_range(self.low, self.high, self.scale, dtype)

    def need_movable(self, dtype: Any) -> None:
        """Decline where moving the shift behind a sum over scale * x would cost too many digits.

        Both terms then are |shift| in size where what they add up to is `typical`, or of order one:
        what shifts an image, x - mean, is to leave that, and no constant beside it tells.
        """
        size: Array | float = 1.0
        if self.typical is not None:
            size = np.maximum(*map(np.abs, self.typical))
        reason = "its shift is so large beside what it gives that rounding would show"
        need_conditioned(self.shift, size, dtype, reason)


def read_affine(node: gs.Node, view: View) -> Affine | None:
    """Read `node` as a map scale * x + shift of floats, or return None where it is none at all.

    Declines for a BatchNormalization whose parameters are not constant, or that trains.
    """
    if node.op not in AFFINE_OPS or not is_standard(node):
        return None
    if node.op == "BatchNormalization":
        return _read_batchnorm(node, view)
    if node.op == "Neg":
        dtype = view.dtype(node.inputs[0])
        if dtype is not None and not dtypes.is_float(dtype):
            return None
        return Affine(node, node.inputs[0], np.array(-1.0), np.array(0.0))
    if not aligns(node.op, view.opset):
        return None
    for position in (1, 0):
        values = view.constant(node.inputs[position])
        if values is None or view.is_constant(node.inputs[1 - position]):
            continue
        if values.size > _MOST_VALUES or not dtypes.is_float(values.dtype):
            return None
        if node.op == "Div" and position == 0:
            return None
        scale, shift = _elementwise(node.op, position, np.asarray(values, np.float64))
        return Affine(node, node.inputs[1 - position], scale, shift)
    return None


def is_chained(node: gs.Node, view: View) -> bool:
    """Say, from operators alone, whether another affine node may be all that reads `node`."""
    reader = view.only_reader(node.outputs[0])
    return reader is not None and reader.op in AFFINE_OPS


def try_affine(node: gs.Node | None, view: View) -> Affine | None:
    """Read `node` like `read_affine`, with None where that declines."""
    try:
        return None if node is None else read_affine(node, view)
    except DeclinedError:
        return None


def batchnorm_affine(
    scale: Array, bias: Array, mean: Array, var: Array, epsilon: float
) -> tuple[Array, Array]:
    """Return (s, t), float64 [C], of BN(y) = s * y + t; the four parameters are [C].

    s = scale / sqrt(var + epsilon), t = bias - mean * s.
    """
    scale, bias, mean, var = (np.asarray(a, np.float64) for a in (scale, bias, mean, var))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        s = scale / np.sqrt(var + epsilon)
        return s, bias - mean * s


def affine_below(
    first: Affine, rank: int | None, axis: int, channels: int, view: View
) -> list[Affine]:
    """Return `first` and the affine nodes after it, each the sole reader of the one before."""
    chain = [first]
    while True:
        reader = view.only_reader(chain[-1].result)
        after = try_affine(reader, view)
        if after is None or after.on_channels(rank, axis, channels) is None:
            return chain
        chain.append(after)


def composed(
    chain: Sequence[Affine],
    rank: int | None,
    axis: int,
    channels: int,
    bias: Array | None = None,
) -> Composition:
    """Return the map of a chain whose nodes all have one [channels], first node first.

    `bias` [channels] is part of what the chain reads, added just before; it is part of the shift.
    """
    total = Composition.of(np.zeros(channels) if bias is None else bias)
    for affine in chain:
        found = affine.on_channels(rank, axis, channels)
        if found is None:
            raise ValueError(f"{affine.node.op} does not map {channels} channels")
        total = total.then(*found, affine.typical)
    return total


def need_zeros_kept(chain: Sequence[Affine], view: View) -> None:
    """Decline, where zeros have signs, a chain that adds: what it makes of zeros would change.

    Not asked where a layer takes the chain in: which zero its sum gives follows the order of
    summation, which nothing promises.
    """
    adds = any(affine.adds for affine in chain)
    need(not (view.signed_zeros and adds), "a sum of zeros would have another sign")


def _read_batchnorm(node: gs.Node, view: View) -> Affine:
    need_inference(node, view)
    names = ("scale", "bias", "mean", "var")
    gain, bias, mean, var = (
        np.asarray(need(view.constant(tensor), f"its {name} is not constant"), np.float64)
        for name, tensor in zip(names, node.inputs[1:5], strict=True)
    )
    s, t = batchnorm_affine(gain, bias, mean, var, node.attrs.get("epsilon", 1e-5))
    return Affine(node, node.inputs[0], s, t, (bias, np.abs(gain)))


def _elementwise(op: str, position: int, c: Array) -> tuple[Array, Array]:
    one, zero = np.array(1.0), np.array(0.0)
    match op:
        case "Mul":
            return c, zero
        case "Div":
            with np.errstate(divide="ignore"):
                return 1.0 / c, zero
        case "Add":
            return one, c
        case _:
            return (one, -c) if position == 1 else (-one, c)
