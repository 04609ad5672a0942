"""The model on evaluators that share no code with the runtimes: tract, and `onnx.reference`."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
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
Evaluate = Callable[[onnx.ModelProto, Arrays], Arrays]

# Of an output's range: beyond it two orders of a sum are no explanation.
_TOLERANCE = 1e-3
# What tract calls the types of inputs.
_FACTS = {
    "float32": "f32",
    "float64": "f64",
    "float16": "f16",
    "int64": "i64",
    "int32": "i32",
    "int8": "i8",
    "uint8": "u8",
    "bool": "bool",
}


def ask_oracle(case: Case, limits: Limits | None) -> tuple[Finding, str]:
    """Compare the reference runtime's outputs with those of whoever else can run the model.

    One that agrees is enough. Return the finding, and where none does the first node, in words,
    whose results differ.
    """
    differs: list[tuple[str, float, str]] = []
    untold = []
    for name, evaluate in _evaluators():
        found = run_apart(lambda evaluate=evaluate: _compared(case, evaluate), limits)  # type: ignore[misc]
        if found.value is None:
            why = "takes too long" if found.how == HANGS else _last_line(found.error) or found.how
            untold.append(f"{name}: {why}")
        elif found.value[1]:
            differs.append((name, *found.value))
        else:
            agrees = f"it agrees within {found.value[0]:.1g} of the range"
            return Finding(name, "right", agrees), ""
    if not differs:
        return Finding("another evaluator", "untold", "; ".join(untold)), ""
    name, error, node = differs[-1]
    text = f"it and ONNX Runtime, optimizations off, differ by {error:.2g} of the range"
    return Finding(name, "wrong", f"{text}, at {node} first"), node


def _evaluators() -> Iterator[tuple[str, Evaluate]]:
    if importlib.util.find_spec("tract") is not None:
        yield "tract", _by_tract
    yield "onnx.reference", _by_onnx


def _compared(case: Case, evaluate: Evaluate) -> tuple[float, str]:
    worst = _farthest(run_reference(case), evaluate(case.model, case.feed))
    if worst <= _TOLERANCE:
        return worst, ""
    names = [name for node in case.model.graph.node for name in node.output if name]
    inner, shown = run_reference(case, names), _shown(case.model, names)
    other = evaluate(shown, case.feed)
    makers = {t.name: node for node in load(case.model).nodes for t in node.outputs}
    for name in names:
        if name in makers and _farthest({name: inner[name]}, other) > _TOLERANCE:
            return worst, label(makers[name])
    return worst, "an output"


def _shown(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    made = onnx.ModelProto.FromString(model.SerializeToString())
    del made.graph.output[:]
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return made


def _by_onnx(model: onnx.ModelProto, feed: Arrays) -> Arrays:
    names = [output.name for output in model.graph.output]
    with np.errstate(all="ignore"):
        found = ReferenceEvaluator(model).run(names, dict(feed))
    return dict(zip(names, map(np.asarray, found), strict=True))


def _by_tract(model: onnx.ModelProto, feed: Arrays) -> Arrays:
    import tract

    with tempfile.TemporaryDirectory(prefix="planish-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        read = tract.onnx().load(path)
    arrays = []
    for place in range(read.input_count()):
        array = feed[read.input_name(place)]
        sizes = "".join(f"{size}," for size in array.shape)
        read.set_input_fact(place, f"{sizes}{_FACTS[array.dtype.name]}")
        arrays.append(array)
    found = read.into_model().into_runnable().run(arrays)
    names = [output.name for output in model.graph.output]
    return dict(zip(names, (each.to_numpy() for each in found), strict=True))


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
