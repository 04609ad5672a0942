"""Random operands of a kernel, as numbers and as the buffers that it is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..spec.chain import LOOKUP, ChainStep, ElementwiseChain, OperandInput
from ..spec.layout import Array, BufferSpec
from ..spec.lookup import table_words
from .memory import laid_out, numbers, numpy_dtype

# Steps whose operand multiplies or divides: away from 0, which would hide the rest or blow it up.
_FACTORS = ("Mul", "Div", "PRelu")
# Of the values before QuantizeLinear, in its steps: most of the bytes there are.
_STEPS = 50.0
_USUAL = 2.0  # beyond the bounds of Relu6 and HardSwish now and then


@dataclass
class Draw:
    """Draws operands for `images` images; `args` are the buffers so far, in order.

    `size`: what values before the epilogue are about, as standard deviation.
    """

    rng: np.random.Generator
    images: int
    size: float
    args: list[Any] = field(default_factory=list)

    def normal(self, shape: Sequence[int], deviation: float = 1.0) -> Array:
        """Return normal float32 numbers."""
        return self.rng.standard_normal(tuple(shape), np.float32) * np.float32(deviation)

    def tensor(self, spec: BufferSpec, deviation: float, *, finite: bool = False) -> Array:
        """Add the buffer of a tensor, and return its numbers [N, C, D, H, W]."""
        shape = (spec.images(self.images), spec.channels, *spec.spatial)
        dtype = numpy_dtype(spec.dtype)
        if dtype.kind in "iu":
            ends = np.iinfo(dtype)
            stored = self.rng.integers(ends.min, ends.max, shape, dtype, endpoint=True)
        else:
            stored = self.normal(shape, deviation).astype(dtype)
        self.args.append(laid_out(stored, spec, finite=finite))
        return self._for_all(numbers(stored, spec), spec)

    def _for_all(self, values: Array, spec: BufferSpec) -> Array:
        """Return the images of `values` as often as they are read."""
        return values[np.arange(self.images) % spec.repeat] if spec.repeat else values

    def table(self, spec: BufferSpec, *, signed: bool) -> Array:
        """Add the buffer of a table of bytes, and return its 256 numbers."""
        kind = np.dtype(np.int8 if signed else np.uint8)
        ends = np.iinfo(kind)
        values = self.rng.integers(ends.min, ends.max, 256, kind, endpoint=True)
        self.args.append(table_words(values, spec.lanes))
        return values.astype(np.float32)

    def operands(self, chain: ElementwiseChain, first_factor: float = 1.0) -> list[Array]:
        """Add the operands of `chain`, and return their numbers.

        `first_factor`: about what the first step multiplies by.
        """
        found = []
        for position, spec in enumerate(chain.operands):
            step, place = _reader(chain, position)
            if step.op == LOOKUP:
                found.append(self.table(spec, signed=bool(dict(step.attrs)["signed"])))
                continue
            if step.op not in _FACTORS or numpy_dtype(spec.dtype).kind in "iu":
                found.append(self.tensor(spec, self.size / 2))
                continue
            shape = (spec.images(self.images), spec.channels, *spec.spatial)
            signs = self.rng.choice(np.array([1 if step.op == "Div" else -1, 1], np.float32), shape)
            values = self.rng.uniform(0.5, 1.5, shape).astype(np.float32) * signs
            if place == 0:
                values *= np.float32(first_factor)
            stored = values.astype(numpy_dtype(spec.dtype))
            self.args.append(laid_out(stored, spec))
            found.append(self._for_all(numbers(stored, spec), spec))
        return found


def deviation_of(values: Array) -> float:
    """Return the root of the mean square, 1 where there are no values."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) if values.size else 1.0


def usual_size(chain: ElementwiseChain) -> float:
    """Return what values before `chain` are to be about: all of a byte, or some units."""
    for step in chain.steps:
        if step.op in ("QuantizeLinear", LOOKUP):
            return _STEPS * float(dict(step.attrs)["scale"])
    return _USUAL


def packed_weights(weight: Array, x: BufferSpec, y: BufferSpec, shape: tuple[int, ...]) -> Array:
    """Return [M, C of a group, k, k, k] as a kernel reads them, in `shape`, zeros elsewhere.

    `shape` is [M blocks, C blocks of a group, k, k, k, C lanes, M lanes]. Channels are in the order
    of blocks.
    """
    packed = np.zeros(shape, weight.dtype)
    start = 0
    for m, outs in enumerate(y.blocks):
        part = weight[start : start + outs]
        start += outs
        at = 0
        for c, ins in enumerate(x.blocks[: shape[1]]):
            taps = np.moveaxis(part[:, at : at + ins], (0, 1), (-1, -2))
            packed[m, c, ..., :ins, :outs] = taps
            at += ins
    return packed


def in_blocks(values: Array, spec: BufferSpec) -> Array:
    """Return [C, ...] as [blocks, ..., lanes] of the channels of `spec`, zeros elsewhere."""
    packed = np.zeros((len(spec.blocks), *values.shape[1:], spec.lanes), values.dtype)
    start = 0
    for block, filled in enumerate(spec.blocks):
        packed[block, ..., :filled] = np.moveaxis(values[start : start + filled], 0, -1)
        start += filled
    return packed


def placed(spec: BufferSpec, rng: np.random.Generator) -> tuple[BufferSpec, list[int]]:
    """Return `spec` with a range of blocks where it is told at run time, and what tells it."""
    if spec.first is not None:
        return spec, []
    first = int(rng.integers(0, spec.total - len(spec.blocks), endpoint=True))
    return replace(spec, first=first), [first]


def fan_in(shape: Sequence[int]) -> int:
    """Return how many products a sum has, for weights [M, C, k, k, k]."""
    return max(1, math.prod(shape[1:]))


def _reader(chain: ElementwiseChain, position: int) -> tuple[ChainStep, int]:
    """Return the first step that reads an operand, and its place."""
    wanted = OperandInput(position)
    return next((step, place) for place, step in enumerate(chain.steps) if wanted in step.inputs)
