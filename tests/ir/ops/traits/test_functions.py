"""What element-wise operators compute, against ONNX Runtime: everywhere, and at the extremes."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from planish.ir.ops.traits import function_of, operators_with
from planish.ir.ops.traits.functions import _FUNCTIONS
from planish.ir.ops.traits.recognized import RECOGNIZED

from tests.ir.ops.traits.cases import NoRuntimeError, cases_of, cases_of_function

F = np.float32
GRID = np.concatenate(
    [
        np.linspace(-8, 8, 1601, dtype=F) + F(1e-3),
        np.array([0, -0.0, np.nan, np.inf, -np.inf, 1e-40, 1e-30, -1e-30, 1e38, -1e38, 50, -50], F),
    ]
)


def compare(case):
    expected = case.of(GRID)
    with np.errstate(over="ignore"):
        found = function_of(case.node, case.opset)(GRID).astype(F)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("op", sorted(_FUNCTIONS))
def test_operators(op):
    ran = 0
    for case in cases_of(op):
        try:
            case.run()
        except NoRuntimeError:
            assert case.opset < 7
            continue
        compare(case)
        ran += 1
    assert ran


@pytest.mark.parametrize("name", sorted(set(RECOGNIZED) - {"LayerNormalization"}))
def test_functions_of_the_domain_planish(name):
    for case in cases_of_function(name):
        compare(case)


def test_no_function_of_what_is_none_of_numbers():
    unary = operators_with(lambda t: t.unary and not t.logical)
    without = {"BitCast", "Cast", "CastLike", "Clip", "Dropout", "IsInf", "IsNaN", "RegexFullMatch"}
    assert unary - set(_FUNCTIONS) - set(RECOGNIZED) == without
    assert function_of(gs.Node("Add"), 13) is None
    assert function_of(gs.Node("Relu", domain="com.example"), 13) is None
