"""The passes over Transposes and Reshapes, on random networks full of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings

import planish
from planish.ir.ops.shapes.infer import infer_types

from tests.effort import examples
from tests.passes.test_properties import _check
from tests.strategies import networks
from tests.strategies.layout import STEPS

_SETTINGS = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def transposed(graph):
    """Count the elements that Transposes copy, an unknown batch as one, and the Transposes."""
    types = infer_types(graph)
    copied = {}
    for node in graph.nodes:
        if node.op != "Transpose":
            continue
        perm, shape = node.attrs.get("perm", []), types.of(node.inputs[0]).shape
        rest = [axis for axis in perm if shape[axis] != 1]
        moved = math.prod(d for d in shape if isinstance(d, int)) if rest != sorted(rest) else 0
        # Equal Transposes of one tensor count once, as after common subexpressions went.
        copied[(id(node.inputs[0]), tuple(perm))] = moved
    return sum(copied.values()), len(copied)


def moves_no_more(result, case):
    (size, count), (before, most) = transposed(result.graph), transposed(planish.load(case.model))
    return size <= before and count <= most


@pytest.mark.parametrize("name", ["eliminate-transposes", "simplify-reshapes"])
@given(case=networks(patterns=STEPS))
@settings(_SETTINGS, max_examples=examples(40))
def test_keeps_the_function(name, case):
    result = _check(case, name)
    if name == "eliminate-transposes":
        assert moves_no_more(result, case)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eliminate-transposes", "simplify-reshapes"])
@given(case=networks(patterns=STEPS, most_steps=25))
@settings(_SETTINGS, max_examples=examples(1000))
def test_keeps_the_function_at_length(name, case):
    result = _check(case, name)
    if name == "eliminate-transposes":
        assert moves_no_more(result, case)
