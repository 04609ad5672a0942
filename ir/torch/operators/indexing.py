"""Operators that pick elements by index."""

from __future__ import annotations

import functools

import torch
from torch import fx

from ..call import Handler, OperatorCall, Result
from ..functions import indexing


def _gather(call: OperatorCall) -> Result:
    axis = call.attribute("axis", 0)
    indices = call.numbers(1) if call.static(1) is not None else None
    if isinstance(indices, int):
        return call.function(torch.select, call.tensor(0), axis, indices)
    return call.function(indexing.gather, call.tensor(0), call.tensor(1), axis)


def _gather_elements(call: OperatorCall) -> Result:
    axis = call.attribute("axis", 0)
    return call.function(indexing.gather_elements, call.tensor(0), call.tensor(1), axis)


def _gather_nd(call: OperatorCall) -> Result:
    batch = call.attribute("batch_dims", 0)
    return call.function(indexing.gather_nd, call.tensor(0), call.tensor(1), batch)


def _scatter_elements(call: OperatorCall) -> Result:
    return call.function(
        indexing.scatter_elements,
        *call.tensors(),
        call.attribute("axis", 0),
        call.attribute("reduction", "none"),
    )


def _scatter_nd(call: OperatorCall) -> Result:
    if call.attribute("reduction", "none") not in ("none", "add"):
        call.refuse(
            f"its reduction is {call.attribute('reduction')}", "PyTorch has none but addition"
        )
    return call.function(indexing.scatter_nd, *call.tensors(), call.attribute("reduction", "none"))


def _top_k(call: OperatorCall) -> Result:
    count = call.fixed(1, "k")
    if count is None:
        call.refuse("its k is missing", "check the model with onnx.checker")
    made = call.function(
        torch.topk,
        call.tensor(0),
        count[0],
        call.attribute("axis", -1),
        bool(call.attribute("largest", 1)),
        bool(call.attribute("sorted", 1)),
    )
    return [call.function(indexing.item, made, index) for index in (0, 1)]


def _extremum(largest: bool, call: OperatorCall) -> fx.Node:
    return call.function(
        indexing.extremum,
        call.tensor(0),
        call.attribute("axis", 0),
        call.attribute("keepdims", 1) == 1,
        bool(call.attribute("select_last_index", 0)),
        largest,
    )


OPERATORS: dict[str, Handler] = {
    "ArgMax": functools.partial(_extremum, True),
    "ArgMin": functools.partial(_extremum, False),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
}
