"""The epilogue that a group's followers make, its operands packed for the kernel's layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.ops.quantization.nodes import quantizes_or_back
from ..graph.groups import FusionGroup
from ..graph.quantized import quantization_of
from ..spec.chain import (
    ChainInput,
    ChainStep,
    ConstantInput,
    ElementwiseChain,
    OperandInput,
    StepInput,
)
from ..spec.layout import Array, BufferSpec, Layout, no_halo
from .blocked import BlockedProgram
from .value import batch_of


class EpilogueBuilder:
    """An epilogue under construction: a chain and its operands, all in one layout."""

    def __init__(self, program: BlockedProgram, layout: Layout, images: Any) -> None:
        self.chain = ElementwiseChain()
        self.args: list[Any] = []
        self._program = program
        self._view = program.view
        self._layout = layout
        self._images = images

    def scale_and_shift(self, scale: Array | None, shift: Array | None) -> None:
        """Append y * scale + shift; both [C]."""
        for op, values in (("Mul", scale), ("Add", shift)):
            if values is not None:
                self._append(op, (StepInput(len(self.chain.steps) - 1), self._packed(values)))

    def follow(self, group: FusionGroup, result: gs.Tensor) -> None:
        """Append the followers of `group`; the chain so far gives `result`."""
        steps = {id(result): len(self.chain.steps) - 1}
        rank = len(self._program.inferred_shape(result))
        for node in group.followers:
            inputs, attrs = self._inputs(node, steps, rank)
            self._append(node.op, inputs, attrs)
            steps[id(node.outputs[0])] = len(self.chain.steps) - 1

    def begin(self, node: gs.Node, main: gs.Tensor, rank: int) -> None:
        """Append the element-wise `node` itself, which starts from `main`."""
        inputs, attrs = self._inputs(node, {id(main): -1}, rank)
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

    def _append(
        self, op: str, inputs: tuple[ChainInput, ...], attrs: tuple[tuple[str, Any], ...] = ()
    ) -> None:
        step = ChainStep(op, inputs, attrs)
        self.chain = ElementwiseChain((*self.chain.steps, step), self.chain.operands)

    def _add_operand(self, expr: Any, spec: BufferSpec) -> OperandInput:
        self.args.append(expr)
        self.chain = ElementwiseChain(self.chain.steps, (*self.chain.operands, spec))
        return OperandInput(len(self.args) - 1)

    def _operand(self, tensor: gs.Tensor, rank: int) -> ChainInput:
        values = self._view.constant(tensor)
        if values is not None:
            if values.size == 1:
                return ConstantInput(float(values.reshape(-1)[0]))
            aligned = values.reshape(*[1] * (rank - values.ndim), *values.shape)
            return self._packed(aligned[0])
        value = self._program.repacked(tensor, self._layout)
        single = batch_of(value.shape[0]) == 1 and batch_of(self._images) != 1
        return self._add_operand(value.expr, value.spec(single=single))

    def _packed(self, values: Array) -> OperandInput:
        """Add a constant [C, ...] as an operand that is the same for every image."""
        spatial = values.shape[1:]
        layout = self._layout.with_halo(no_halo(len(spatial)))
        packed = layout.pack(np.asarray(values, np.float32))[None]
        return self._add_operand(self._program.parameter(packed), layout.spec(spatial, single=True))


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
