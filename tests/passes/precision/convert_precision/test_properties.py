"""Random networks in narrow floats: the same function within the digits that are left."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings

import planish

from tests.effort import examples
from tests.helpers import relative_error, run_ort
from tests.strategies import Case, networks
from tests.strategies.precision import STEPS

_SETTINGS = settings(
    max_examples=examples(25),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def _check(case: Case, pipeline: str, bound: float) -> planish.Result:
    """Check the interface, and the error where no value of the network passes the range."""
    graph = planish.load(case.model)
    steps = planish.Pipeline.parse(pipeline)
    finite = all(np.isfinite(array).all() for array in case.feeds.values())
    result = steps.run(graph, [case.feeds] if finite else None, verify="off")
    again = steps.run(result.graph, [case.feeds] if finite else None, verify="off")
    assert again.edits == 0, again.records
    written = planish.to_model(result.graph)
    onnx.shape_inference.infer_shapes(written, check_type=True, strict_mode=True)
    expected, found = run_ort(case.model, case.feeds), run_ort(written, case.feeds)
    assert list(expected) == list(found)
    for name, array in expected.items():
        assert (array.shape, array.dtype) == (found[name].shape, found[name].dtype), name
        if not result.edits:
            assert np.array_equal(array, found[name], equal_nan=True)
        if finite and np.isfinite(array).all():
            # A network that amplifies a rounding of its inputs is granted what that alone does.
            feeds = {k: v * np.float32(1 + bound / 10) for k, v in case.feeds.items()}
            alone = relative_error(array, run_ort(case.model, feeds)[name])
            assert relative_error(array, found[name]) <= max(bound, 10 * alone), name
    return result


@pytest.mark.parametrize("options", ["", "{compute=float32}"])
@given(case=networks(patterns=STEPS))
@_SETTINGS
def test_float16(options, case):
    _check(case, "convert-precision" + options, 1e-2)


@given(case=networks())
@_SETTINGS
def test_float16_in_networks_of_all_patterns(case):
    _check(case, "convert-precision", 1e-2)


@given(case=networks(patterns=STEPS))
@_SETTINGS
def test_bfloat16_as_storage(case):
    _check(case, "convert-precision{to=bfloat16}", 8e-2)


@given(case=networks(patterns=STEPS))
@_SETTINGS
def test_bfloat16_is_well_formed(case):
    pipeline = planish.Pipeline.parse("convert-precision{to=bfloat16,compute=half}")
    result = pipeline.run(planish.load(case.model), verify="off")
    assert pipeline.run(result.graph, verify="off").edits == 0
    written = planish.to_model(result.graph)
    onnx.shape_inference.infer_shapes(written, check_type=True, strict_mode=True)
