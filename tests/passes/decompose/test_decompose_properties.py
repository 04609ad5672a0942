"""Decompositions over random networks: they never fail, and what they promise holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, reject, settings
from hypothesis import strategies as st

import planish
from planish.ir.core.errors import FeedError
from planish.passes.analysis.cost import cost
from planish.passes.trust.rounding import measure_rounding

from tests.effort import examples
from tests.helpers import relative_error, run_ort
from tests.strategies import networks
from tests.strategies.decompose import STEPS

_SETTINGS = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
FIXED = {
    "substitute-depthwise": "terms=1",
    "decompose-svd": "rank=1",
    "decompose-spatial": "rank=1",
    "decompose-tucker": "rank=1",
}
OPTIONS = {
    "substitute-depthwise": ("terms=1", "terms=2", "max-error=0.3", ""),
    **dict.fromkeys(
        ("decompose-svd", "decompose-spatial", "decompose-tucker"),
        ("rank=1", "rank=2", "ratio=0.5", "ratio=0.8", "max-error=0.3", ""),
    ),
}


def _interface(graph):
    inputs = [(t.name, t.shape, t.dtype) for t in graph.inputs]
    return inputs, [(t.name, t.dtype) for t in graph.outputs]


@pytest.mark.parametrize("name", FIXED)
@given(case=networks(patterns=STEPS, most_steps=8))
@settings(_SETTINGS, max_examples=examples(40))
def test_what_fits_exactly_keeps_the_function(name, case):
    graph = planish.load(case.model)
    pipeline = planish.Pipeline.parse(f"{name}{{{FIXED[name]},max-error=1e-12,measure=false}}")
    result = pipeline.run(graph, verify="off")
    event(f"{name}: {min(result.edits, 2)} edits")
    assert pipeline.run(result.graph, verify="off").edits == 0
    assert _interface(result.graph) == _interface(graph)
    if not np.isfinite(case.feeds["x"]).all():
        return  # a channel of zeros times infinity
    expected = run_ort(case.model, case.feeds)
    found = run_ort(planish.to_model(result.graph), case.feeds)
    assert list(found) == list(expected)
    error = max(relative_error(array, found[key]) for key, array in expected.items())
    if error > 1e-5:
        assert error <= 10 * measure_rounding(graph, [case.feeds], [expected], seed=0)


@pytest.mark.parametrize("name", OPTIONS)
@given(data=st.data(), case=networks(patterns=STEPS, most_steps=8))
@settings(_SETTINGS, max_examples=examples(40))
def test_any_network_is_taken(name, data, case):
    graph = planish.load(case.model)
    option = data.draw(st.sampled_from(OPTIONS[name]))
    feeds = data.draw(st.sampled_from((None, [case.feeds])))
    text = ",".join(filter(None, (option, "measure=false")))
    pipeline = planish.Pipeline.parse(f"{name}{{{text}}}")
    try:
        result = pipeline.run(graph, feeds, verify="off")
    except FeedError as error:
        if np.isfinite(case.feeds["x"]).all() and "infinity" not in str(error):
            raise
        reject()
    event(f"{name}: {min(result.edits, 2)} edits")
    assert (cost(result.graph).macs < cost(graph).macs) == (result.edits > 0)
    assert pipeline.run(result.graph, feeds, verify="off").edits == 0
    assert _interface(result.graph) == _interface(graph)
    expected = run_ort(case.model, case.feeds)
    found = run_ort(planish.to_model(result.graph), case.feeds)
    assert {key: array.shape for key, array in found.items()} == {
        key: array.shape for key, array in expected.items()
    }
