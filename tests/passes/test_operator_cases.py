"""The operator cases that ship with onnx: what ONNX Runtime ran correctly, it still does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import planish

from tests.operator_cases import operator_cases

# How many cases onnx 1.23 has, and how many of them ONNX Runtime runs; other versions have others.
_KNOWN = {
    ("1.23", "1.31", "all"): (1884, 1334),
    ("1.23", "1.32", "all"): (1884, 1508),
    ("1.23", "1.32", "one"): (476, 406),
}


def _run(model: onnx.ModelProto, inputs: list[Any]) -> list[Any]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # those that wait for work spin
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=False)))


def _agree(found: Any, expected: Any, rtol: float, atol: float) -> bool:
    if isinstance(expected, list | tuple):
        return (
            isinstance(found, list | tuple)
            and len(found) == len(expected)
            and all(_agree(f, e, rtol, atol) for f, e in zip(found, expected, strict=True))
        )
    if found is None or expected is None:
        return found is expected
    found, expected = np.asarray(found), np.asarray(expected)
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return False
    if expected.dtype.kind in "OUS":
        return bool(np.array_equal(found, expected))
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    return np.allclose(found.astype(wide), expected.astype(wide), rtol, atol, equal_nan=True)


def _is_right(case: Any, model: onnx.ModelProto) -> bool:
    for inputs, outputs in case.data_sets:
        found = _run(model, inputs)
        if not all(_agree(f, e, case.rtol, case.atol) for f, e in zip(found, outputs, strict=True)):
            return False
    return True


def _one_of_each_kind(cases: list[Any]) -> Iterator[Any]:
    """Yield the first case with the same operators, which have the same attributes."""
    seen = set()
    for case in cases:
        nodes = case.model.graph.node
        kind = frozenset((n.op_type, *sorted(a.name for a in n.attribute)) for n in nodes)
        if kind not in seen:
            seen.add(kind)
            yield case


@pytest.mark.parametrize("which", ["one", pytest.param("all", marks=pytest.mark.slow)])
def test_cases_that_ran_still_run(which):
    cases = operator_cases()
    if which == "one":
        cases = list(_one_of_each_kind(cases))
    exact = planish.Pipeline.parse("exact")
    ran, broken = 0, []
    for case in cases:
        try:
            if not _is_right(case, case.model):
                continue
        except Exception:
            continue
        ran += 1
        graph = exact.run(planish.load(case.model), verify="off").graph
        own, portable = (planish.to_model(graph, portable=portable) for portable in (False, True))
        for model in [own] if own == portable else [own, portable]:
            try:
                right = _is_right(case, model)
            except Exception as error:
                broken.append((case.name, str(error)))
            else:
                if not right:
                    broken.append((case.name, "wrong result"))
    assert not broken
    versions = [".".join(v.split(".")[:2]) for v in (onnx.__version__, ort.__version__)]
    assert (len(cases), ran) == _KNOWN.get((*versions, which), (len(cases), ran))
    assert ran > len(cases) / 2
