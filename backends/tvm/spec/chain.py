"""What follows a kernel's result before it is stored: a chain of element-wise operators.

    y = Relu(Add(Mul(result, s), z))        is three steps over `result` and the operands s and z

A chain is a value: two layers with equal chains and shapes share one kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from .layout import BufferSpec
from .lookup import Words, as_number, looked_up
from .scalars import SCALARS, holds_of, quantized_bits

# A byte's successor in a table of 256, of what QuantizeLinear makes of the first input.
LOOKUP = "Lookup"


@dataclass(frozen=True)
class ConstantInput:
    """A constant."""

    value: float


@dataclass(frozen=True)
class OperandInput:
    """An operand of the kernel, counted among the chain's operands."""

    position: int


@dataclass(frozen=True)
class StepInput:
    """The result of a step, -1 for the value the chain starts from."""

    step: int


ChainInput = ConstantInput | OperandInput | StepInput


@dataclass(frozen=True)
class ChainStep:
    """One operator with its inputs and attributes."""

    op: str
    inputs: tuple[ChainInput, ...]
    attrs: tuple[tuple[str, Any], ...] = ()


class ChainOperands(Protocol):
    """What a chain reads of its operands for one element of the result."""

    def element(self, position: int) -> Any:
        """Return the element of an operand."""

    def words(self, position: int) -> Words:
        """Return the table that an operand is."""


@dataclass(frozen=True)
class ElementwiseChain:
    """Steps over a value and over `operands` in the blocked layout."""

    steps: tuple[ChainStep, ...] = ()
    operands: tuple[BufferSpec, ...] = ()

    def apply(
        self,
        value: Any,
        operands: ChainOperands,
        hold: Callable[[Any], Any],
        *,
        as_bits: bool = False,
    ) -> Any:
        """Return the expression of the last step, a float32.

        `as_bits`: an int32 whose low byte is what the last step, which quantizes, gives.

        `hold` computes what a step before the last gives, or reads several times, and returns where
        it is (`scalars`).
        """
        from tvm import tirx

        values = [value]

        def of(source: ChainInput) -> Any:
            match source:
                case ConstantInput(number):
                    return tirx.const(number, "float32")
                case OperandInput(position):
                    return operands.element(position)
                case StepInput(step):
                    return values[step + 1]

        def result(step: ChainStep, bits: bool) -> Any:
            attrs = dict(step.attrs)
            if step.op == LOOKUP:
                index, table = step.inputs
                assert isinstance(table, OperandInput)
                at = quantized_bits(of(index), attrs)
                word = looked_up(operands.words(table.position), at)
                return word if bits else as_number(word, signed=bool(attrs["signed"]))
            inputs = [of(source) for source in step.inputs]
            if bits:
                return quantized_bits(inputs[0], attrs)
            return SCALARS[step.op](inputs, attrs, hold)

        for left, step in reversed(list(enumerate(reversed(self.steps)))):
            values.append(hold(result(step, False)) if left else result(step, as_bits))
        return values[-1]

    @property
    def held(self) -> int:
        """How many numbers `hold` is asked to keep at most."""
        inside = sum(
            holds_of(step.op, len(step.inputs), step.attrs)
            for step in self.steps
            if step.op != LOOKUP
        )
        return inside + max(0, len(self.steps) - 1)

    def then(self, step: ChainStep, *specs: BufferSpec) -> ElementwiseChain:
        """Return the chain with one more step, and its new operands."""
        return ElementwiseChain((*self.steps, step), (*self.operands, *specs))
