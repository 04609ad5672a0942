"""Element-wise operators on tensors that lie as ONNX has them, and what follows a product of them.

Their sizes may broadcast in any way, and the first may be known at run time alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_graphsurgeon as gs

from ....ir.graph.types import Shape
from ....ir.graph.view import View
from ..graph.groups import FusionGroup, can_broadcast, is_plain_scalar, operands
from ..kernels.plain import PlainElementwise, plain_elementwise
from ..spec.chain import ChainInput, ConstantInput
from ..spec.layout import BufferSpec, Layout
from .blocked import BlockedProgram
from .broadcast import Broadcast, merged
from .epilogue import EpilogueBuilder
from .kernel_program import KernelMaker
from .requantize import ChainOperand
from .value import batch_of, shape_of

_NO_BLOCKS = Layout(0, (), ())


def can_emit_plain(node: gs.Node, view: View) -> bool:
    """Say whether `node` is element-wise on float32, and all its sizes but the first are known."""
    shape = view.shape(node.outputs[0]) if node.outputs else None
    if not is_plain_scalar(node, view) or not has_open_batch_at_most(shape):
        return False
    assert shape is not None
    read = operands(node)
    return any(not view.is_constant(t) for t in read) and all(
        can_broadcast(tensor, shape, view) for tensor in read
    )


def has_open_batch_at_most(shape: Shape | None) -> bool:
    """Say whether there is an axis, none is empty, and all sizes but the first are known."""
    if not shape or 0 in shape:
        return False
    return all(isinstance(size, int) for size in shape[1:])


class PlainEpilogue(EpilogueBuilder):
    """An epilogue whose operands lie as ONNX has them, as `broadcast` says."""

    def __init__(self, program: BlockedProgram, broadcast: Broadcast) -> None:
        super().__init__(program, _NO_BLOCKS, broadcast.batch)
        self._broadcast = broadcast

    def operand_of(self, tensor: gs.Tensor) -> tuple[Any, BufferSpec] | None:
        """Return the memory of `tensor` and how it is seen; None where it is not seen so."""
        from tvm import relax

        expr = self._program.tensor(tensor)
        spec = self._broadcast.spec(shape_of(expr) or ())
        if spec is None:
            return None
        shape = list(spec.shape(self._broadcast.batch))
        return self._program.builder.emit(relax.op.reshape(expr, shape)), spec

    def _operand(self, tensor: gs.Tensor, rank: int) -> ChainInput:
        values = self._view.constant(tensor)
        if values is not None and values.size == 1:
            return ConstantInput(float(values.reshape(-1)[0]))
        found = self.operand_of(tensor)
        if found is None:
            raise UnseenOperandError(tensor.name)
        expr, spec = found
        return self._add(ChainOperand(expr=expr, spec=spec))


class UnseenOperandError(Exception):
    """An operand that a kernel has no index for."""


def emit_plain(program: BlockedProgram, group: FusionGroup) -> bool:
    """Emit an element-wise `group`, all of whose nodes are `can_emit_plain`; say if so."""
    from tvm import relax

    node = group.anchor
    main = _main(program, node)
    if main is None:
        return False
    shapes = [_shape(program, tensor) for tensor in _all_operands(program, group)]
    result = _result_shape(program, group, shapes)
    broadcast = None if result is None else merged(result, shapes, program.machine.lanes)
    if result is None or broadcast is None:
        return False
    epilogue = PlainEpilogue(program, broadcast)
    x = epilogue.operand_of(main)
    if x is None:
        return False
    try:
        epilogue.begin(node, main, len(result))
        epilogue.follow(group, node.outputs[0])
    except UnseenOperandError:
        return False
    y = broadcast.result
    op = PlainElementwise(
        x=x[1],
        y=y,
        epilogue=epilogue.chain,
        batch=batch_of(broadcast.batch),
        lanes=program.machine.lanes,
    )
    kernel = KernelMaker("elementwise", op, plain_elementwise)
    found = program.call(kernel, [x[0], *epilogue.args], y, broadcast.batch)
    emit = program.builder.emit
    program.define_plain(group.result, emit(relax.op.reshape(found, list(result))))
    return True


def _main(program: BlockedProgram, node: gs.Node) -> gs.Tensor | None:
    """Return the operand that the chain starts from: one of the result's sizes, if there is one."""
    view, shape = program.view, program.view.shape(node.outputs[0])
    found = [tensor for tensor in operands(node) if not view.is_constant(tensor)]
    whole = [tensor for tensor in found if view.shape(tensor) == shape]
    return next(iter([*whole, *found]), None)


def _all_operands(program: BlockedProgram, group: FusionGroup) -> list[gs.Tensor]:
    inside = {id(node.outputs[0]) for node in (group.anchor, *group.followers)}
    return [
        tensor
        for node in (group.anchor, *group.followers)
        for tensor in operands(node)
        if id(tensor) not in inside
    ]


def _shape(program: BlockedProgram, tensor: gs.Tensor) -> tuple[Any, ...]:
    values = program.view.constant(tensor)
    if values is not None:
        return tuple(values.shape)
    return shape_of(program.tensor(tensor)) or ()


def _result_shape(
    program: BlockedProgram, group: FusionGroup, shapes: Sequence[tuple[Any, ...]]
) -> tuple[Any, ...] | None:
    """Return the sizes of the result: those inferred, the first of them as an operand has it."""
    inferred = program.inferred_shape(group.anchor.outputs[0])
    if isinstance(inferred[0], int):
        return tuple(inferred)
    firsts = [
        shape[0]
        for shape in shapes
        if len(shape) == len(inferred) and not (isinstance(shape[0], int) and shape[0] == 1)
    ]
    return (firsts[0], *inferred[1:]) if firsts else None
