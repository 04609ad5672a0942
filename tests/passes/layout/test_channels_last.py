"""Whole networks with channels last end with no inner Transposes."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from benchmarks.patterns.layout import NETWORKS, PATTERNS

from tests.helpers import assert_same_function, run_pass

PIPELINE = (
    "fold-constants,eliminate-transposes,simplify-reshapes,eliminate-dead-code,"
    "eliminate-transposes,simplify-reshapes"
)


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize(
    "opset",
    [9, pytest.param(11, marks=pytest.mark.slow), 13, pytest.param(15, marks=pytest.mark.slow), 18],
)
@pytest.mark.parametrize("batch", ["unk__1", 2])
def test_one_transpose_is_left_at_the_input(build, opset, batch):
    model = build(opset=opset, batch=batch)
    before = [node.op_type for node in model.graph.node]
    result = run_pass(planish.load(model), PIPELINE)
    left = [node for node in result.graph.nodes if node.op == "Transpose"]
    assert before.count("Transpose") >= 4
    assert len(left) == 1
    assert left[0].inputs[0] is result.graph.inputs[0] or left[0].inputs[0].inputs[0].op == "Abs"
    shape = [2, *result.graph.inputs[0].shape[1:]]
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    assert_same_function(model, result.graph, {"x": x})


@pytest.mark.parametrize("pattern", PATTERNS, ids=[pattern.name for pattern in PATTERNS])
def test_patterns_of_the_table(pattern):
    model = pattern.build()
    assert not pattern.folded(model)
    result = run_pass(planish.load(model), PIPELINE)
    assert pattern.folded(planish.to_model(result.graph, portable=True))
    size = [d.dim_value or 1 for d in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(1).standard_normal(size).astype(np.float32)
    assert_same_function(model, result.graph, {"x": x})
