"""What each operator ties and keeps: one table, a module a family."""

from __future__ import annotations

from collections.abc import Callable

from ...core.variables import is_standard
from ...ops.traits import traits_of
from . import computing, moving
from .node import NodeAxes

_Rule = Callable[[NodeAxes], None]


def enter(each: NodeAxes) -> None:
    """Enter what a node ties and keeps."""
    each.enter_constants()
    _rule_of(each)(each)


def _rule_of(each: NodeAxes) -> _Rule:
    if each.node.op in _RULES and is_standard(each.node):
        return _RULES[each.node.op]
    traits = traits_of(each.node, each.opset)
    if traits.elementwise:
        return computing.elementwise
    if traits.windowed:
        return computing.windowed
    if traits.reduction or traits.arg_reduction:
        return computing.reduction
    return computing.batch if traits.keeps_batch else NodeAxes.keep


_RULES: dict[str, _Rule] = {
    "BatchNormalization": computing.normalization,
    "Concat": moving.concat,
    "ConcatFromSequence": moving.items,
    "Flatten": moving.reshape,
    "Gather": moving.gather,
    "Gemm": computing.gemm,
    "GlobalAveragePool": computing.global_pool,
    "GlobalMaxPool": computing.global_pool,
    "LogSoftmax": computing.softmax,
    "MatMul": computing.matmul,
    "Pad": moving.pad,
    "Reshape": moving.reshape,
    "SequenceAt": moving.items,
    "SequenceConstruct": moving.items,
    "Shape": moving.of_shape,
    "Size": moving.of_shape,
    "Slice": moving.cut,
    "Softmax": computing.softmax,
    "Split": moving.split,
    "SplitToSequence": moving.items,
    "Squeeze": moving.squeeze,
    "Unsqueeze": moving.squeeze,
    "Transpose": moving.transpose,
}
