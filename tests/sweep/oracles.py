"""Whom to ask where what ONNX Runtime answers may be its own fault.

It infers sizes of its own (a Slice of opset 10 keeps the name of the axis that it takes a part of),
and lays tensors in one place where these are alike: which ones depends on the order of the nodes.
And there are kernels that are wrong. The reference of ONNX is slow, written apart from it, and
decides where it differs from the runtime on the untouched model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from .judge import Judge
from tests.strategies.random_graphs.evaluate import run_session, session_of

Array = np.ndarray[Any, Any]
Feed = Mapping[str, Array]
Outputs = Mapping[str, Array]


def settles(
    judge: Judge,
    feed: Feed,
    told: Outputs,
    found: Callable[[Callable[[onnx.ModelProto], Outputs]], Outputs],
    result: onnx.ModelProto | None,
) -> str:
    """Return who finds no fault; empty where nobody does.

    `told`: what ONNX Runtime gave of the untouched model. `found`: what is judged, of who is asked.
    """
    for name, ask in _others(judge, feed, told):
        try:
            if judge.differs(feed, ask(judge.model), found(ask), result) is None:
                return name
        except Exception:  # the reference lacks operators and types, and fails in many ways
            continue
    return ""


def _others(
    judge: Judge, feed: Feed, told: Outputs
) -> Iterator[tuple[str, Callable[[onnx.ModelProto], Outputs]]]:
    yield "no memory shared", lambda model: _apart(model, feed)
    if _doubts(judge, feed, told):
        yield "reference", lambda model: _reference(model, feed)


def _doubts(judge: Judge, feed: Feed, told: Outputs) -> bool:
    """Say whether the reference runs the untouched model and gives something else."""
    try:
        return judge.differs(feed, _reference(judge.model, feed), told, None) is not None
    except Exception:
        return False


def _apart(model: onnx.ModelProto, feed: Feed) -> Outputs:
    return run_session(session_of(model, shares_memory=False), feed)


def _reference(model: onnx.ModelProto, feed: Feed) -> Outputs:
    names = [output.name for output in model.graph.output]
    with np.errstate(all="ignore"):
        found = ReferenceEvaluator(model).run(names, dict(feed))
    return dict(zip(names, map(_as_given, found), strict=True))


def _as_given(value: Any) -> Array:
    """Return `value` as the runtime gives it: text as objects."""
    array = np.asarray(value)
    return array.astype(object) if array.dtype.kind == "U" else array
