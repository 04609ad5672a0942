"""What follows a kernel's result before it is stored: a chain of element-wise operators.

    y = Relu(Add(Mul(result, s), z))        is three steps over `result` and the operands s and z

A chain is a value: two layers with equal chains and shapes share one kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .layout import BufferSpec
from .scalars import SCALARS


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


@dataclass(frozen=True)
class ElementwiseChain:
    """Steps over a value and over `operands` in the blocked layout."""

    steps: tuple[ChainStep, ...] = ()
    operands: tuple[BufferSpec, ...] = ()

    def apply(self, value: Any, operand: Callable[[int], Any], hold: Callable[[Any], Any]) -> Any:
        """Return the expression of the last step; `operand` gives the element of one.

        Most steps write their argument down several times, so that of several, one behind the
        other, the expression would grow without end: `hold` computes what a step before the last
        gives, and returns where it is.
        """
        from tvm import tirx

        values = [value]

        def of(source: ChainInput) -> Any:
            match source:
                case ConstantInput(number):
                    return tirx.const(number, "float32")
                case OperandInput(position):
                    return operand(position)
                case StepInput(step):
                    return values[step + 1]

        for left, step in reversed(list(enumerate(reversed(self.steps)))):
            inputs = [of(source) for source in step.inputs]
            found = SCALARS[step.op](inputs, dict(step.attrs))
            values.append(hold(found) if left else found)
        return values[-1]

    @property
    def held(self) -> int:
        """How many results `hold` is asked to keep: those of all steps but the last."""
        return max(0, len(self.steps) - 1)

    def then(self, step: ChainStep, *specs: BufferSpec) -> ElementwiseChain:
        """Return the chain with one more step, and its new operands."""
        return ElementwiseChain((*self.steps, step), (*self.operands, *specs))
