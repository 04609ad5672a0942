"""The epilogue that a group's followers make, its operands packed for the kernel's layout."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.ops.quantization.nodes import is_quantizer, quantizes_or_back
from ....ir.ops.traits import operators_with
from ..graph.groups import FusionGroup
from ..graph.quantized import TensorQuantization, quantization_of
from ..spec.chain import (
    LOOKUP,
    ChainInput,
    ChainStep,
    ConstantInput,
    ElementwiseChain,
    OperandInput,
    StepInput,
)
from ..spec.layout import Array, BufferSpec, Layout, no_halo
from ..spec.lookup import table_spec, table_words
from .blocked import BlockedProgram
from .lookups import byte_function
from .requantize import ChainOperand, requantized
from .value import batch_of

_COMMUTATIVE = operators_with(lambda traits: traits.commutative)


class EpilogueBuilder:
    """An epilogue under construction: a chain and its operands, all in one layout.

    `chain` and `args` are what the steps so far come to; nothing is appended once they were asked.
    """

    def __init__(self, program: BlockedProgram, layout: Layout, images: Any) -> None:
        self._steps: list[ChainStep] = []
        self._operands: list[ChainOperand] = []
        self._program = program
        self._view = program.view
        self._layout = layout
        self._images = images

    def scale_and_shift(self, scale: Array | None, shift: Array | None) -> None:
        """Append y * scale + shift; both [C]."""
        for op, values in (("Mul", scale), ("Add", shift)):
            if values is not None:
                self._append(op, (self._last, self._constant(values)))

    def dequantize(self, quantization: TensorQuantization) -> None:
        """Append what makes stored numbers the float32 that they stand for."""
        if quantization.zero:
            self._append("Add", (self._last, ConstantInput(-float(quantization.zero))))
        self._append("Mul", (self._last, ConstantInput(quantization.scale)))

    def follow(self, group: FusionGroup, result: gs.Tensor) -> None:
        """Append the followers of `group`; the chain so far gives `result`."""
        steps = {id(result): len(self._steps) - 1}
        rank = len(self._program.inferred_shape(result))
        left = list(group.followers)
        while left:
            node = left[0]
            inputs, attrs = self._inputs(node, steps, rank)
            function = byte_function(left, self._view) if is_quantizer(node) else None
            if function is None:
                self._append(node.op, inputs, attrs)
                left = left[1:]
            else:
                signed = int(function.values.dtype.kind == "i")
                inputs = (*inputs, self._table(function.values))
                self._append(LOOKUP, inputs, (*attrs, ("signed", signed)))
                left = left[1 + len(function.nodes) :]
                node = function.nodes[-1]
            steps[id(node.outputs[0])] = len(self._steps) - 1

    def begin(self, node: gs.Node, main: gs.Tensor, rank: int) -> None:
        """Append the element-wise `node` itself, which starts from `main`: the chain so far."""
        inputs, attrs = self._inputs(node, {id(main): len(self._steps) - 1}, rank)
        self._append(node.op, inputs, attrs)

    def _inputs(
        self, node: gs.Node, steps: dict[int, int], rank: int
    ) -> tuple[tuple[ChainInput, ...], tuple[tuple[str, Any], ...]]:
        if quantizes_or_back(node):
            quantization = quantization_of(node, self._view)
            assert quantization is not None
            return (StepInput(steps[id(node.inputs[0])]),), quantization.attrs
        attrs = {k: v for k, v in node.attrs.items() if isinstance(v, float | int)}
        if node.op == "Clip":
            bounds = dict(zip(("min", "max"), node.inputs[1:], strict=False))
            for name, tensor in bounds.items():
                values = None if tensor.is_empty() else self._view.constant(tensor)
                if values is not None:
                    attrs[name] = float(values.reshape(-1)[0])
            return (StepInput(steps[id(node.inputs[0])]),), tuple(sorted(attrs.items()))
        inputs: list[ChainInput] = []
        for tensor in node.inputs:
            if id(tensor) in steps:
                inputs.append(StepInput(steps[id(tensor)]))
            else:
                inputs.append(self._operand(tensor, rank))
        return tuple(inputs), tuple(sorted(attrs.items()))

    @property
    def _last(self) -> StepInput:
        return StepInput(len(self._steps) - 1)

    def _append(
        self, op: str, inputs: tuple[ChainInput, ...], attrs: tuple[tuple[str, Any], ...] = ()
    ) -> None:
        assert "_built" not in self.__dict__
        if op in _COMMUTATIVE and len(inputs) == 2:
            # Residuals come first or second in a file; layers that differ in that share a kernel.
            inputs = tuple(sorted(inputs, key=_rank))
        self._steps.append(ChainStep(op, inputs, attrs))

    def _add(self, operand: ChainOperand) -> OperandInput:
        self._operands.append(operand)
        return OperandInput(len(self._operands) - 1)

    def _constant(self, values: Array) -> OperandInput:
        """Add a constant [C, ...] as an operand that is the same for every image."""
        return self._add(ChainOperand(np.asarray(values, np.float32)))

    def _table(self, values: Array) -> OperandInput:
        lanes = self._layout.lanes
        words = self._program.parameter(table_words(values, lanes))
        return self._add(ChainOperand(expr=words, spec=table_spec(lanes)))

    @property
    def chain(self) -> ElementwiseChain:
        """The steps, and what they read."""
        return self._built[0]

    @property
    def args(self) -> list[Any]:
        """The operands of `chain`."""
        return self._built[1]

    @functools.cached_property
    def _built(self) -> tuple[ElementwiseChain, list[Any]]:
        steps, operands = requantized(self._steps, self._operands, self._layout.channels)
        laid = [self._laid_out(operand) for operand in operands]
        specs = tuple(spec for _, spec in laid)
        return ElementwiseChain(tuple(steps), specs), [expr for expr, _ in laid]

    def _laid_out(self, operand: ChainOperand) -> tuple[Any, BufferSpec]:
        if operand.values is None:
            assert operand.spec is not None
            return operand.expr, operand.spec
        spatial = operand.values.shape[1:]
        layout = self._layout.with_halo(no_halo(len(spatial)))
        packed = layout.pack(operand.values)[None]
        return self._program.parameter(packed), layout.spec(spatial, single=True)

    def _operand(self, tensor: gs.Tensor, rank: int) -> ChainInput:
        values = self._view.constant(tensor)
        if values is not None:
            if values.size == 1:
                return ConstantInput(float(values.reshape(-1)[0]))
            aligned = values.reshape(*[1] * (rank - values.ndim), *values.shape)
            return self._constant(aligned[0])
        value = self._program.repacked(tensor, self._layout)
        single = batch_of(value.shape[0]) == 1 and batch_of(self._images) != 1
        return self._add(ChainOperand(expr=value.expr, spec=value.spec(single=single)))


def _rank(source: ChainInput) -> tuple[int, float]:
    """Return where an input of a step stands among those whose order makes no difference."""
    if isinstance(source, StepInput):
        return 0, -source.step
    if isinstance(source, OperandInput):
        return 1, source.position
    return 2, 0.0


def layout_of_operands(program: BlockedProgram, group: FusionGroup, shape: Any) -> Layout | None:
    """Return the layout of another branch that the group's followers read, if there is one."""
    inside = {id(group.anchor.outputs[0]), *(id(node.outputs[0]) for node in group.followers)}
    for node in group.followers:
        for tensor in node.inputs:
            if id(tensor) in inside or program.view.is_constant(tensor):
                continue
            for value in program.values(tensor):
                if value.layout is not None and value.layout.channels == shape[1]:
                    return value.layout
    return None
