"""Every pass and the whole pipeline, over random networks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings

import planish
from planish.passes.pipeline.presets import PRESETS
from planish.passes.pipeline.registry import all_passes
from planish.passes.trust.rounding import measure_rounding

from tests.effort import examples
from tests.helpers import Array, relative_error, run_ort
from tests.strategies import Case, networks

# What gives a network other inputs or outputs needs options, and is tested where it stands.
EXACT = sorted(name for name, item in all_passes().items() if item.exact and item.keeps_interface)
_SETTINGS = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def _check(
    case: Case, pipeline: str, expected: Mapping[str, Array] | None = None
) -> planish.Result:
    graph = planish.load(case.model)
    steps = planish.Pipeline.parse(pipeline)
    result = steps.run(graph, verify="off")
    if not result.edits:
        assert planish.to_model(result.graph) == planish.to_model(graph)
        return result
    expected = run_ort(case.model, case.feeds) if expected is None else expected
    judged = _judged(case, expected, pipeline)
    tolerance = 1e-5
    for portable in (False, True):
        found = run_ort(planish.to_model(result.graph, portable=portable), case.feeds)
        assert list(found) == list(expected)
        assert {name: array.shape for name, array in found.items()} == {
            name: array.shape for name, array in expected.items()
        }
        decided = {
            name: judged[name] & ~_overflows(array, found[name], case)
            for name, array in expected.items()
        }
        errors = {
            name: relative_error(array[decided[name]], found[name][decided[name]])
            for name, array in expected.items()
        }
        if max(errors.values()) > tolerance:
            rounding = measure_rounding(graph, [case.feeds], [expected], seed=0)
            tolerance = max(tolerance, 10 * rounding)
        assert max(errors.values()) <= tolerance, errors
    assert steps.run(result.graph, verify="off").edits == 0
    assert [(t.name, t.shape) for t in result.graph.inputs] == [
        (t.name, t.shape) for t in graph.inputs
    ]
    assert [(t.name, t.dtype) for t in result.graph.outputs] == [
        (t.name, t.dtype) for t in graph.outputs
    ]
    return result


def _overflows(expected: Array, found: Array, case: Case) -> Array:
    """Return where one of the two has no number and the other one close to the largest there is.

    Where infinity is fed in, a Clip without a bound makes the largest number of it: what overflows
    next is told by what it is multiplied by first.
    """
    if all(np.isfinite(fed).all() for fed in case.feeds.values()):
        return np.zeros(expected.shape, bool)
    a, b = np.isfinite(expected), np.isfinite(found)
    return (a != b) & (np.abs(np.where(a, expected, found)) > 1e30)


def _judged(case: Case, expected: Mapping[str, Array], pipeline: str) -> dict[str, Array]:
    """Return which values of each output a pipeline has to keep: all, but for inf and NaN fed in.

    Weights multiplied or added beforehand give inf where the network had inf - inf, and a MaxPool
    of ONNX Runtime gives the lowest number for NaN where no MaxPool at all gives NaN; so it does of
    a channel of zeros, 0 * NaN, which is then missing. So a preset, and the passes that add weights
    up or leave some out, are held to what does not depend on such a value: what stays with large
    ones in its place.
    """
    judged = {name: np.ones(array.shape, bool) for name, array in expected.items()}
    reweighs = pipeline in (*PRESETS, "merge-parallel-convolutions", "remove-constant-channels")
    if reweighs and not all(np.isfinite(array).all() for array in case.feeds.values()):
        for large in (-1e3, 1e3):
            feeds = {
                name: np.where(np.isfinite(array), array, np.float32(large))
                for name, array in case.feeds.items()
            }
            for name, array in run_ort(case.model, feeds).items():
                judged[name] &= array == expected[name]
    return judged


@given(case=networks())
@settings(_SETTINGS, max_examples=examples(30))
def test_every_pass_keeps_the_function(case):
    expected = run_ort(case.model, case.feeds)
    for name in EXACT:
        note(name)  # the last one that is printed is the one that fails
        _check(case, name, expected)


@given(case=networks(most_steps=20))
@settings(_SETTINGS, max_examples=examples(80))
def test_exact_keeps_the_function(case):
    _check(case, "exact")


@pytest.mark.slow
@given(case=networks(most_steps=40))
@settings(_SETTINGS, max_examples=examples(3000))
def test_exact_keeps_the_function_at_length(case):
    _check(case, "exact")


def _check_written(case: Case) -> None:
    """Check that what is written is a fixed point: loaded and optimized again, nothing is left."""
    steps = planish.Pipeline.parse("exact")
    result = steps.run(planish.load(case.model), verify="off")
    for portable in (False, True):
        written = planish.load(planish.to_model(result.graph, portable=portable))
        again = steps.run(written, verify="off")
        assert {record.name: record.edits for record in again.records if record.edits} == {}


@given(case=networks(most_steps=14))
@settings(_SETTINGS, max_examples=examples(50))
def test_what_is_written_is_a_fixed_point(case):
    _check_written(case)


@pytest.mark.slow
@given(case=networks(most_steps=30))
@settings(_SETTINGS, max_examples=examples(3000))
def test_what_is_written_is_a_fixed_point_at_length(case):
    _check_written(case)


@given(case=networks())
@settings(_SETTINGS, max_examples=examples(25))
def test_saved_bytes_are_the_same_twice(case):
    first, second = (
        planish.to_model(
            planish.Pipeline.parse("exact").run(planish.load(case.model), verify="off").graph
        ).SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert first == second
