"""Whom to ask where what ONNX Runtime answers may be its own fault.

It infers sizes of its own (a Slice of opset 10 keeps the name of the axis that it takes a part of),
and lays tensors in one place where these are alike: which ones depends on the order of the nodes.
And there are kernels that are wrong. The reference of ONNX is slow, written apart from it, and
decides where it differs from the runtime on the untouched model. Of 16 bits the runtime, which has
few kernels, keeps 32 between some nodes, and so what overflows in 16: there a result is right that
the reference computes as the runtime did the untouched model, and where the reference cannot run it
nobody is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from .judge import Judge
from .pruning import only_output
from tests.strategies.random_graphs.evaluate import run_session, session_of

Array = np.ndarray[Any, Any]
Feed = Mapping[str, Array]
Outputs = Mapping[str, Array]
# Runs a model; and what is judged, where that is what runs.
Ask = Callable[[onnx.ModelProto], Outputs]
Found = Callable[[Ask], Outputs]

OVERFLOWS = "nobody: it overflows in 16 bits"


def settles(
    judge: Judge, feed: Feed, told: Outputs, found: Found, result: onnx.ModelProto | None
) -> str:
    """Return who finds no fault, or that none can be told; empty where all find one.

    `told`: what ONNX Runtime gave of the untouched model. `found`: what is judged, of who is asked.
    Where the reference does not run the whole, each output is looked at alone.
    """
    who = _settles(judge, feed, told, found, result)
    if not who and result is not None and len(told) > 1:
        alone = [_settles_alone(judge.model, result, feed, name) for name in told]
        who = "" if "" in alone else next(filter(None, alone), "one output")
    return who or (OVERFLOWS if judge.overflows_in_16_bits(feed) else "")


def _settles_alone(
    before: onnx.ModelProto, after: onnx.ModelProto, feed: Feed, name: str
) -> str | None:
    """Return who finds no fault in one output; None where there is none, empty for nobody."""
    models = [only_output(model, name) for model in (before, after)]
    feed = _fed(models[0], feed)
    judge = Judge(models[0])
    try:
        told, found = (run_session(session_of(each), _fed(each, feed)) for each in models)
        if judge.differs(feed, told, found, models[1]) is None:
            return None
    except Exception:  # the binding raises one class per status code
        return ""
    return _settles(judge, feed, told, lambda ask: ask(models[1]), models[1])


def _settles(
    judge: Judge, feed: Feed, told: Outputs, found: Found, result: onnx.ModelProto | None
) -> str:
    for name, ask, wanted in _others(judge, feed, told, result):
        try:
            right = ask(judge.model) if wanted is None else wanted
            if judge.differs(feed, right, found(ask), result) is None:
                return name
        except Exception:  # the reference lacks operators and types, and fails in many ways
            continue
    return ""


def _others(
    judge: Judge, feed: Feed, told: Outputs, result: onnx.ModelProto | None
) -> Iterator[tuple[str, Ask, Outputs | None]]:
    """Yield whom to ask, and what the untouched model gives where they are not asked that."""
    yield "no memory shared", lambda model: _apart(model, feed), None
    if _doubts(judge, feed, told):
        yield "reference", lambda model: _reference(model, feed), None
    if result is not None and judge.is_of_16_bits:
        yield "reference of the result", lambda model: _reference(model, feed), told


def _doubts(judge: Judge, feed: Feed, told: Outputs) -> bool:
    """Say whether the reference runs the untouched model and gives something else."""
    try:
        found = judge.differs(feed, told, _reference(judge.model, feed), judge.model)
    except Exception:
        return False
    return found is not None


def _apart(model: onnx.ModelProto, feed: Feed) -> Outputs:
    return run_session(session_of(model, shares_memory=False), _fed(model, feed))


def _reference(model: onnx.ModelProto, feed: Feed) -> Outputs:
    names = [output.name for output in model.graph.output]
    with np.errstate(all="ignore"):
        found = ReferenceEvaluator(model).run(names, _fed(model, feed))
    return dict(zip(names, map(_as_given, found), strict=True))


def _fed(model: onnx.ModelProto, feed: Feed) -> dict[str, Array]:
    """Return those of `feed` that `model` has as inputs: of one output alone it may have fewer."""
    read = {value.name for value in model.graph.input}
    return {name: array for name, array in feed.items() if name in read}


def _as_given(value: Any) -> Array:
    """Return `value` as the runtime gives it: text as objects."""
    array = np.asarray(value)
    return array.astype(object) if array.dtype.kind == "U" else array
