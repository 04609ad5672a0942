"""The clean-up passes over random networks with the patterns they look for."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.effort import examples
from tests.passes.test_properties import _check
from tests.strategies import networks
from tests.strategies.cleanup import STEPS

PASSES = (
    "deduplicate-constants",
    "eliminate-casts",
    "eliminate-identities",
    "eliminate-quantize-pairs",
    "eliminate-unused-inputs",
    "fold-constants",
    "inline-constant-branches",
    "unroll-loops",
)
ALL = (
    "fold-constants,inline-constant-branches,unroll-loops,fold-constants,eliminate-dead-code,"
    "eliminate-casts,eliminate-quantize-pairs,eliminate-identities,eliminate-unused-inputs,"
    "eliminate-dead-code,deduplicate-constants,eliminate-unused-functions"
)
_SETTINGS = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.mark.parametrize("name", PASSES)
@given(case=networks(patterns=STEPS))
@settings(_SETTINGS, max_examples=examples(40))
def test_pass_keeps_the_function(name, case):
    _check(case, name)


@given(case=networks(patterns=STEPS, most_steps=16))
@settings(_SETTINGS, max_examples=examples(60))
def test_all_keep_the_function(case):
    # One condition or shape that becomes known may decide the next, so until nothing changes.
    _check(case, f"repeat({ALL})")
