"""`exact` on operators whose result has another size, all parameters drawn, empty tensors too."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from onnx import helper, numpy_helper

import planish

from tests.effort import examples
from tests.helpers import run_ort
from tests.strategies.sizes import OPERATORS, sized_models


def read_on(model):
    """Return `model` with its first result read by what depends on its size."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph, y = made.graph, model.graph.output[0].name
    opset = model.opset_import[0].version
    graph.initializer.append(numpy_helper.from_array(np.float32([2]), "two"))
    graph.initializer.append(numpy_helper.from_array(np.int64([-1]), "rest"))
    graph.node.append(helper.make_node("Shape", [y], ["sizes"]))
    if opset >= 8:
        graph.node.append(helper.make_node("Expand", ["two", "sizes"], ["twos"]))
        graph.output.append(onnx.ValueInfoProto(name="twos"))
    if opset >= 5:
        graph.node.append(helper.make_node("Reshape", [y, "rest"], ["flat"]))
        graph.output.append(onnx.ValueInfoProto(name="flat"))
    graph.output.append(onnx.ValueInfoProto(name="sizes"))
    return made


@pytest.mark.parametrize("op", OPERATORS)
def test_exact_gives_what_was_there(op):
    @settings(max_examples=examples(25), suppress_health_check=[HealthCheck.filter_too_much])
    @given(sized_models((op,)))
    def check(case):
        model = read_on(case.model)
        try:
            expected = run_ort(model, case.feeds)
        except Exception:
            assume(False)
        pipeline = planish.Pipeline.parse("exact")
        result = pipeline.run(planish.load(model), verify="off", strict=True)
        found = run_ort(planish.to_model(result.graph, portable=True), case.feeds)
        for name, values in expected.items():
            assert found[name].shape == values.shape
            assert np.allclose(found[name], values, rtol=1e-5, atol=1e-5, equal_nan=True)
        assert pipeline.run(result.graph, verify="off").edits == 0

    check()
