"""Random graphs through the TVM backend: what ONNX Runtime computes, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import planish

from tests.helpers import Array, relative_error, run_ort
from tests.strategies.network import Case
from tests.strategies.tvm import compiled_cases

pytest.importorskip("tvm")

TOLERANCE = 2e-4


def check(case: Case, threads: int) -> None:
    expected = run_ort(case.model, case.feeds)
    compiled = planish.lower(planish.load(case.model), backend="tvm", threads=threads)
    for _ in range(2):  # memory of the first run is used again
        found = compiled(case.feeds)
        assert expected.keys() == found.keys()
        for name, values in expected.items():
            assert differs_by(values, found[name]) <= TOLERANCE, name


def differs_by(expected: Array, found: Array) -> float:
    if expected.dtype.kind in "iub":
        assert found.dtype == expected.dtype
        return 0.0 if np.array_equal(expected, found) else np.inf
    return relative_error(expected, found)


@settings(max_examples=10)
@given(case=compiled_cases(most_steps=3))
def test_small_graphs_are_right(case) -> None:
    check(case, threads=1)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@settings(max_examples=300)
@given(case=compiled_cases())
def test_many_small_graphs_are_right(threads, case) -> None:
    check(case, threads)
