"""Chains between bytes: all that is linear before a rounding becomes one product and one sum.

    q = round((total * s + b) / scale) + zero = round(total * m + c) + odd,    m = s / scale

The constants m and c have one number a channel. What is halfway goes to the even number before the
zero point is added: c takes an even number of it, and an odd one leaves 1 for after the rounding,
so that kernels are shared but for that. A sum of dequantized tensors, as at the end of a residual
block, is linear in all of their bytes. Relu and Clip before QuantizeLinear are bounds of the
rounded number, which is bounded as it is.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, CVPR 2018, section 2.2; here the multiplier is a float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..spec.chain import (
    LOOKUP,
    ChainInput,
    ChainStep,
    ConstantInput,
    OperandInput,
    StepInput,
)
from ..spec.layout import Array, BufferSpec

_ROUNDING = ("QuantizeLinear", LOOKUP)
# One number, or one a channel.
Factor = float | Array


@dataclass(frozen=True, eq=False)
class ChainOperand:
    """An operand of a chain: constant `values` [C, ...], or `expr`, laid out as `spec` says."""

    values: Array | None = None
    expr: Any = None
    spec: BufferSpec | None = None


@dataclass(frozen=True, eq=False)
class _Linear:
    """The sum of `terms`, each a result or an operand by its factor, and of `constant`.

    It is bounded by `low` and `high`.
    """

    terms: Mapping[ChainInput, Factor] = field(default_factory=dict)
    constant: Factor = 0.0
    low: float = -math.inf
    high: float = math.inf

    def scaled(self, factor: Factor) -> _Linear:
        """Return the product with a constant."""
        terms = {source: held * factor for source, held in self.terms.items()}
        return _Linear(terms, self.constant * factor)

    def plus(self, other: _Linear) -> _Linear:
        """Return the sum of both."""
        terms = dict(self.terms)
        for source, factor in other.terms.items():
            terms[source] = terms.get(source, 0.0) + factor
        return _Linear(terms, self.constant + other.constant)

    @property
    def is_bounded(self) -> bool:
        """Say whether it is cut off anywhere."""
        return self.low > -math.inf or self.high < math.inf

    @property
    def is_bare(self) -> bool:
        """Say whether it is one result or operand as it is."""
        factors = list(self.terms.values())
        alone = len(factors) == 1 and isinstance(factors[0], float) and factors[0] == 1.0
        return alone and _is(self.constant, 0.0) and not self.is_bounded


def requantized(
    steps: Sequence[ChainStep], operands: Sequence[ChainOperand], channels: int
) -> tuple[list[ChainStep], list[ChainOperand]]:
    """Return steps that give the same with less arithmetic, and their operands.

    Chains without QuantizeLinear stay as they are. Constants become operands of so many `channels`:
    layers that differ in them alone share a kernel.
    """
    if not any(step.op in _ROUNDING for step in steps):
        return list(steps), list(operands)
    folding = _Folding(steps, operands, channels)
    for index, step in enumerate(steps):
        folding.take(index, step)
    return folding.finish()


class _Folding:
    """The steps of a chain taken one by one, and those that remain."""

    def __init__(
        self, steps: Sequence[ChainStep], operands: Sequence[ChainOperand], channels: int
    ) -> None:
        self._old, self._given, self._channels = steps, operands, channels
        self._steps: list[ChainStep] = []
        self._operands: list[ChainOperand] = []
        self._kept: dict[int, int] = {}  # operands of the old chain that stay
        self._found: dict[int, _Linear] = {-1: _Linear({StepInput(-1): 1.0})}

    def take(self, index: int, step: ChainStep) -> None:
        """Add what `step` of the old chain, the one at `index`, gives."""
        self._found[index] = self._result(index, step)

    def finish(self) -> tuple[list[ChainStep], list[ChainOperand]]:
        """Return the new chain, which ends with the result of the old one."""
        last = self._emit(self._found[len(self._old) - 1])
        if last != StepInput(len(self._steps) - 1):
            self._append("Cast", last)
        return self._steps, self._operands

    def _result(self, index: int, step: ChainStep) -> _Linear:
        attrs = dict(step.attrs)
        if step.op in _ROUNDING:
            return self._rounded(step, attrs)
        given = [self._read(source) for source in step.inputs]
        if step.op == "DequantizeLinear":
            return given[0].plus(_Linear(constant=-float(attrs["zero"]))).scaled(attrs["scale"])
        if step.op == "Add":
            return _sum(given)
        if step.op == "Sub" and len(given) == 2:
            return given[0].plus(given[1].scaled(-1.0))
        if step.op == "Mul" and len(given) == 2:
            return self._product(*given)
        if step.op == "Cast":
            return given[0]
        bounds = _bounds(step.op, attrs)
        if bounds is not None and not given[0].is_bounded and self._only_rounded(index):
            return replace(given[0], low=bounds[0], high=bounds[1])
        return self._append(step.op, *map(self._emit, given), attrs=step.attrs)

    def _rounded(self, step: ChainStep, attrs: dict[str, Any]) -> _Linear:
        x = self._read(step.inputs[0])
        tables = [OperandInput(self._keep(s.position)) for s in step.inputs[1:]
                  if isinstance(s, OperandInput)]  # fmt: skip
        if x.is_bare:
            return self._append(step.op, self._emit(x), *tables, attrs=step.attrs)
        zero = int(attrs["zero"])
        odd = zero % 2
        moved = x.scaled(1.0 / float(attrs["scale"])).plus(_Linear(constant=float(zero - odd)))
        value = self._emit(moved)
        ends = {"low": _quantized(x.low, attrs), "high": _quantized(x.high, attrs)}
        named = tuple(sorted({**attrs, **ends, "scale": 1.0, "zero": odd}.items()))
        return self._append(step.op, value, *tables, attrs=named)

    def _product(self, a: _Linear, b: _Linear) -> _Linear:
        if not a.terms or not b.terms:
            return a.scaled(b.constant) if a.terms else b.scaled(a.constant)
        factor: Factor = 1.0
        sources = []
        for each in (a, b):
            (first, *others) = each.terms.values()
            if not others and np.all(first):
                each = each.scaled(1.0 / first)
                factor = factor * first
            sources.append(self._emit(each))
        return self._append("Mul", *sources).scaled(factor)

    def _read(self, source: ChainInput) -> _Linear:
        match source:
            case ConstantInput(number):
                return _Linear(constant=number)
            case StepInput(step):
                return self._found[step]
            case OperandInput(position):
                held = self._given[position]
                if held.values is not None and held.values.size == len(held.values):
                    return _Linear(constant=held.values.reshape(-1).astype(np.float64))
                found = _Linear({OperandInput(self._keep(position)): 1.0})
                if held.spec is None or held.spec.scale is None:
                    return found
                return found.plus(_Linear(constant=-float(held.spec.zero))).scaled(held.spec.scale)

    def _keep(self, position: int) -> int:
        """Return where an operand of the old chain is, its bytes as they are stored."""
        if position not in self._kept:
            held = self._given[position]
            if held.spec is not None and held.spec.scale is not None:
                held = replace(held, spec=replace(held.spec, scale=1.0, zero=0))
            self._kept[position] = len(self._operands)
            self._operands.append(held)
        return self._kept[position]

    def _emit(self, x: _Linear) -> ChainInput:
        """Append what computes `x`: the first product takes the constant in."""
        found: ChainInput | None = None
        for source, factor in x.terms.items():
            part = source
            if not _is(factor, 1.0):
                part = self._step("Mul", source, self._constant(factor))
            found = part if found is None else self._step("Add", found, part)
            if found is part and not _is(x.constant, 0.0):
                found = self._step("Add", found, self._constant(x.constant))
        if found is None:
            found = self._constant(x.constant)
        return self._step("Clip", found, attrs=_clip(x)) if x.is_bounded else found

    def _constant(self, values: Factor) -> ChainInput:
        """Return a constant as an operand."""
        whole = np.broadcast_to(np.asarray(values, np.float32), (self._channels,))
        self._operands.append(ChainOperand(whole))
        return OperandInput(len(self._operands) - 1)

    def _step(self, op: str, *inputs: ChainInput, attrs: tuple[Any, ...] = ()) -> StepInput:
        self._steps.append(ChainStep(op, inputs, attrs))
        return StepInput(len(self._steps) - 1)

    def _append(self, op: str, *inputs: ChainInput, attrs: tuple[Any, ...] = ()) -> _Linear:
        return _Linear({self._step(op, *inputs, attrs=attrs): 1.0})

    def _only_rounded(self, index: int) -> bool:
        readers = [step for step in self._old if StepInput(index) in step.inputs]
        return bool(readers) and all(step.op in _ROUNDING for step in readers)


def _sum(given: Sequence[_Linear]) -> _Linear:
    found = given[0]
    for other in given[1:]:
        found = found.plus(other)
    return found


def _bounds(op: str, attrs: Mapping[str, Any]) -> tuple[float, float] | None:
    if op == "Relu":
        return 0.0, math.inf
    if op == "Clip":
        return float(attrs.get("min", -math.inf)), float(attrs.get("max", math.inf))
    return None


def _clip(x: _Linear) -> tuple[tuple[str, float], ...]:
    ends = {"min": x.low, "max": x.high}
    return tuple(sorted((name, end) for name, end in ends.items() if math.isfinite(end)))


def _quantized(end: float, attrs: Mapping[str, Any]) -> int:
    """Return a bound as QuantizeLinear gives it, in float32: rounding is monotone."""
    with np.errstate(over="ignore"):
        whole = np.rint(np.float32(end) / np.float32(attrs["scale"])) + attrs["zero"]
    return int(min(attrs["high"], max(attrs["low"], whole)))


def _is(factor: Factor, number: float) -> bool:
    return isinstance(factor, float) and factor == number
