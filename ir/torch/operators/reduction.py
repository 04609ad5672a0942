"""Reductions and softmax."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import fx, nn

from ...ops.axes.named import joins_axes
from ...ops.traits import default
from ..call import Handler, OperatorCall, Result
from ..functions import reduction


def _reduce(target: Callable[..., Any], call: OperatorCall) -> Result:
    axes = call.fixed(1, "axes")
    keepdims = call.attribute("keepdims", 1) == 1
    if not axes:
        if call.attribute("noop_with_empty_axes", 0) == 1:
            return call.function(target, call.tensor(0), (), keepdims)
        axes = None
    return call.function(target, call.tensor(0), axes, keepdims)


def _softmax(log: bool, call: OperatorCall) -> fx.Node:
    module: Any = nn.LogSoftmax if log else nn.Softmax
    axis, rank = call.attribute("axis", default(call.op, "axis", call.opset)), call.rank(0)
    if not joins_axes(call.opset):
        return call.module(module(axis), call.tensor(0))
    if rank is not None and axis % rank == rank - 1:
        return call.module(module(-1), call.tensor(0))
    return call.function(reduction.flat_softmax, call.tensor(0), axis, log)


def _hardmax(call: OperatorCall) -> fx.Node:
    if joins_axes(call.opset):
        call.refuse("before opset 13 it flattens", "convert the model to opset 13")
    return call.function(reduction.hardmax, call.tensor(0), call.attribute("axis", -1))


def _cumulative_sum(call: OperatorCall) -> Result:
    axis = call.fixed(1)
    if axis is None:
        call.refuse("its axis is missing", "check the model with onnx.checker")
    return call.function(
        reduction.cumulative_sum,
        call.tensor(0),
        axis[0],
        bool(call.attribute("exclusive", 0)),
        bool(call.attribute("reverse", 0)),
    )


OPERATORS: dict[str, Handler] = {
    **{
        f"Reduce{name}": functools.partial(_reduce, target)
        for name, target in {
            "L1": reduction.l1,
            "L2": reduction.l2,
            "LogSum": reduction.log_sum,
            "LogSumExp": reduction.log_sum_exp,
            "Max": reduction.maximum,
            "Mean": reduction.mean,
            "Min": reduction.minimum,
            "Prod": reduction.product,
            "Sum": reduction.total,
            "SumSquare": reduction.sum_square,
        }.items()
    },
    "CumSum": _cumulative_sum,
    "Hardmax": _hardmax,
    "LogSoftmax": functools.partial(_softmax, True),
    "Softmax": functools.partial(_softmax, False),
}
