"""The passes over Transposes and Reshapes, on random networks full of them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

import planish

from tests.passes.test_properties import _check
from tests.strategies import networks
from tests.strategies.layout import STEPS

_SETTINGS = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def transposes(graph):
    return sum(node.op == "Transpose" for node in graph.nodes)


@pytest.mark.parametrize(
    "pipeline",
    [
        "eliminate-transposes",
        "simplify-reshapes",
        "eliminate-transposes,simplify-reshapes,eliminate-dead-code",
    ],
)
@given(case=networks(patterns=STEPS))
@settings(_SETTINGS, max_examples=40)
def test_keeps_the_function(pipeline, case):
    result = _check(case, pipeline)
    assert transposes(result.graph) <= transposes(planish.load(case.model)) + 2


@pytest.mark.slow
@given(case=networks(patterns=STEPS, most_steps=25))
@settings(_SETTINGS, max_examples=1500)
def test_keeps_the_function_at_length(case):
    _check(case, "simplify-reshapes,eliminate-transposes,simplify-reshapes,eliminate-dead-code")
