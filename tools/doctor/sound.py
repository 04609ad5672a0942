"""What is wrong with a file by itself, whoever runs it."""

from __future__ import annotations

import functools

import numpy as np
import onnx
from onnx import numpy_helper

from ...ir.core.errors import PlanishError
from ...ir.core.variables import label
from ...ir.files.load import load
from ...ir.run.contradiction import Contradiction
from ..reduce.apart import Limits, run_apart
from ..reduce.case import Case
from ..reduce.known import run_reference
from .diagnosis import Finding

STEP = "file"


def look_at_file(case: Case, limits: Limits | None) -> tuple[Finding, str]:
    """Say whether a model is sound: by ONNX's checker, its types, its weights and its numbers.

    Return the finding, and the node in words where it shows.
    """
    for look in (_checker, _weights, _numbers):
        found = run_apart(functools.partial(look, case), limits)
        problem = found.value
        if problem is None and found.how and not found.error:  # reading it ends the process
            problem = f"it {found.how}", ""
        if problem is not None:
            return Finding(STEP, "wrong", problem[0]), problem[1]
    told = run_apart(functools.partial(_checkers_words, case), limits).value
    if told:
        return Finding(STEP, "untold", f"ONNX's checker: {told}; runtimes take it"), ""
    return Finding(STEP, "right", "checker, types, weights and numbers"), ""


def _checkers_words(case: Case) -> str:
    try:
        onnx.checker.check_model(case.model, full_check=True)
    except Exception as error:  # a checker of C++
        return " ".join(str(error).split())[:300]
    return ""


def _checker(case: Case) -> tuple[str, str] | None:
    """Return what contradicts; what the checker says is none where the model runs all the same."""
    words = _checkers_words(case)
    if words:
        try:
            run_reference(case)
        except Exception:  # the binding raises one class per status code
            return words, ""
    try:
        told = Contradiction(load(case.model))()
    except PlanishError as error:
        return str(error), ""
    return (told, "") if told else None


def _weights(case: Case) -> tuple[str, str] | None:
    readers = {name: node for node in case.model.graph.node for name in node.input}
    for tensor in case.model.graph.initializer:
        if tensor.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
            continue
        values = numpy_helper.to_array(tensor)
        node = readers.get(tensor.name)
        where = f"weight '{tensor.name}'"
        if np.isnan(values).any():
            return f"{where} has NaN", "" if node is None else node.name
        is_variance = (
            node is not None
            and node.op_type == "BatchNormalization"
            and list(node.input).index(tensor.name) == 4
        )
        if is_variance and (values < 0).any():
            return f"{where}, a variance, is negative", node.name if node is not None else ""
    return None


def _numbers(case: Case) -> tuple[str, str] | None:
    """Return the first node that makes what is no number of numbers, where an output has some."""
    if not any(map(_is_lost, run_reference(case).values())):
        return None
    names = [name for node in case.model.graph.node for name in node.output if name]
    inner = {**run_reference(case, names), **case.feed}
    makers = {t.name: node for node in load(case.model).nodes for t in node.outputs}
    for name in names:
        node = makers.get(name)
        if node is None or not _is_lost(inner[name]):
            continue
        if not any(_is_lost(inner[t.name]) for t in node.inputs if t.name in inner):
            where = label(node)
            return f"{where} gives NaN or infinity throughout for these inputs", where
    return None


def _is_lost(values: object) -> bool:
    """Say whether no element of floats is a number."""
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or not values.size:
        return False
    return not np.isfinite(values).any()
