"""The model on an evaluator that shares no code with the runtimes: `onnx.reference`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from ...ir.core.variables import label
from ...ir.files.load import load
from ..reduce.apart import HANGS, Limits, run_apart
from ..reduce.case import Case
from ..reduce.known import run_reference
from .diagnosis import Finding

Arrays = Mapping[str, np.ndarray[Any, Any]]

# Of an output's range: beyond it two orders of a sum are no explanation.
_TOLERANCE = 1e-3
STEP = "onnx.reference"


def ask_oracle(case: Case, limits: Limits | None) -> tuple[Finding, str]:
    """Compare the reference runtime's outputs with onnx's own evaluator.

    Return the finding, and the first node, in words, whose results differ.
    """
    found = run_apart(lambda: _compared(case), limits)
    if found.value is None:
        why = "takes too long" if found.how == HANGS else _last_line(found.error) or found.how
        return Finding(STEP, "untold", why), ""
    error, node = found.value
    if node:
        text = f"it and ONNX Runtime, optimizations off, differ by {error:.2g} of the range"
        return Finding(STEP, "wrong", f"{text}, at {node} first"), node
    return Finding(STEP, "right", f"it agrees within {error:.1g} of the range"), ""


def _compared(case: Case) -> tuple[float, str]:
    worst = _farthest(run_reference(case), _evaluated(case.model, case.feed))
    if worst <= _TOLERANCE:
        return worst, ""
    names = [name for node in case.model.graph.node for name in node.output if name]
    inner, other = run_reference(case, names), _evaluated(case.model, case.feed, names)
    makers = {t.name: node for node in load(case.model).nodes for t in node.outputs}
    for name in names:
        if name in makers and _farthest({name: inner[name]}, other) > _TOLERANCE:
            return worst, label(makers[name])
    return worst, "an output"


def _evaluated(model: onnx.ModelProto, feed: Arrays, names: list[str] | None = None) -> Arrays:
    wanted = [output.name for output in model.graph.output] if names is None else names
    if names is not None:
        model = onnx.ModelProto.FromString(model.SerializeToString())
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    with np.errstate(all="ignore"):
        found = ReferenceEvaluator(model).run(wanted, dict(feed))
    return dict(zip(wanted, map(np.asarray, found), strict=True))


def _farthest(a: Arrays, b: Arrays) -> float:
    worst = 0.0
    for name, one in a.items():
        if not isinstance(one, np.ndarray) or one.dtype.kind in "OUS":
            continue
        other = b[name]
        if one.shape != other.shape:
            return float("inf")
        x, y = one.astype(np.float64), other.astype(np.float64)
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        with np.errstate(invalid="ignore"):
            apart = np.where(same, 0.0, np.abs(x - y))
        span = float(np.abs(x[np.isfinite(x)]).max(initial=0)) or 1.0
        worst = max(worst, float(np.nan_to_num(apart, nan=np.inf).max(initial=0)) / span)
    return worst


def _last_line(error: str) -> str:
    return error.strip().splitlines()[-1][:200] if error.strip() else ""
