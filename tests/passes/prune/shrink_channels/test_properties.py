"""shrink-channels over random networks of every structure that ties channels together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import planish
from planish.passes.trust.rounding import measure_rounding

from tests.effort import examples
from tests.helpers import relative_error, run_ort
from tests.strategies import Case, networks
from tests.strategies.pruning import STEPS

_SETTINGS = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def _check(case: Case, text: str) -> planish.Result:
    graph = planish.load(case.model)
    # Infinity times a weight of zero is not a number: a channel that is not read makes no such.
    feeds = {name: np.nan_to_num(x, posinf=9.0, neginf=-9.0) for name, x in case.feeds.items()}
    pipeline = planish.Pipeline.parse(text)
    result = pipeline.run(graph, verify="off")
    expected = run_ort(case.model, feeds)
    found = run_ort(planish.to_model(result.graph), feeds)
    assert list(found) == list(expected)
    tolerance = 1e-5
    error = max(relative_error(expected[name], found[name]) for name in expected)
    if error > tolerance:
        tolerance = max(10 * measure_rounding(graph, [feeds], [expected], seed=0), tolerance)
    assert error <= tolerance
    again = pipeline.run(result.graph, verify="off")
    assert again.edits == 0
    return result


@given(case=networks(patterns=STEPS))
@settings(_SETTINGS, max_examples=examples(60))
def test_shrinking_keeps_the_function(case):
    _check(case, "shrink-channels{measure=false}")


@given(case=networks(patterns=STEPS))
@settings(_SETTINGS, max_examples=examples(40))
def test_rounded_up_channels_keep_the_function(case):
    _check(case, "shrink-channels{multiple=4,measure=false}")


@pytest.mark.slow
@given(case=networks(patterns=STEPS, most_steps=20))
@settings(_SETTINGS, max_examples=examples(1000))
def test_shrinking_keeps_the_function_at_length(case):
    _check(case, "shrink-channels{measure=false}")
