"""What is compiled says what it takes and gives, as it is and when it is loaded again."""

import numpy as np
import pytest

import planish

from tests.helpers import graph_of

GRAPH = "g (float[N, 3] x, int64[2] n) => (float[N, 3] y, double[2] z) {\
 y = Relu(x)\n z = Cast<to = 11>(n) }"


@pytest.mark.parametrize("backend", ["onnxruntime", "tvm"])
def test_of_a_network_and_of_what_it_wrote(tmp_path, backend):
    pytest.importorskip(backend)
    compiled = planish.lower(graph_of(GRAPH), backend)
    compiled.save(tmp_path / "m.planish")
    for each in (compiled, planish.load_compiled(tmp_path / "m.planish")):
        assert [str(port) for port in each.inputs] == ["x float32[N, 3]", "n int64[2]"]
        assert [(port.name, port.dtype) for port in each.outputs] == [
            ("y", "float32"),
            ("z", "float64"),
        ]
        assert each.outputs[0].shape[1:] == (3,)
        assert f"<{type(each).__name__} x float32[N, 3], n int64[2] -> y float32[" in repr(each)
        assert "<table>" in each._repr_html_()


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tvm"])
def test_what_has_a_value_by_default_is_not_asked_for(tmp_path, backend):
    pytest.importorskip(backend)
    text = "g (float[2] x, float[2] w, int64 n) => (float[2] y) { y = Add(x, w) }"
    defaults = {"w": np.ones(2, np.float32), "n": np.array(3)}  # as old exporters list weights
    compiled = planish.lower(graph_of(text, defaults), backend)
    compiled.save(tmp_path / "m.planish")
    for each in (compiled, planish.load_compiled(tmp_path / "m.planish")):
        assert [port.name for port in each.inputs] == ["x"]
        np.testing.assert_array_equal(each({"x": np.zeros(2, np.float32)})["y"], [1, 1])
