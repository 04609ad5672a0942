"""Sessions: weights by reference, element types numpy lacks, reasons without noise."""

import gc
import weakref

import ml_dtypes
import numpy as np
import onnxruntime as ort
import pytest

from planish.ir.core.errors import ExecutionError
from planish.ir.run import session as module
from planish.ir.run.session import make_session, output_types, run_session

from tests.helpers import graph_of

CPU = ["CPUExecutionProvider"]


def session(graph):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return make_session(graph, options, CPU)


def unoptimized(graph):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return make_session(graph, options, CPU, share=True)


def run(ready, feeds):
    return run_session(ready, output_types(ready), feeds)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_large_weights_by_reference_give_the_right_result(dtype):
    weight = np.random.default_rng(0).standard_normal((300, 400)).astype(dtype)
    kind = {"float32": "float", "float64": "double"}.get(weight.dtype.name, "float16")
    text = f"g ({kind}[300, 400] x) => ({kind}[300, 400] y) {{ y = Sub(x, w) }}"
    x = np.random.default_rng(1).standard_normal(weight.shape).astype(dtype)
    found = run(session(graph_of(text, {"w": weight})), {"x": x})
    np.testing.assert_array_equal(found["y"], x - weight)


def test_a_map_that_the_optimizer_transposes_is_not_shared():
    """Integer convolutions run with channels last: what is added to them is transposed as well."""
    rng = np.random.default_rng(0)
    held = {
        "w": rng.integers(-100, 100, (32, 32, 1, 1)).astype(np.int8),
        "map": rng.standard_normal((1, 32, 32, 32)).astype(np.float32),
        "s": np.array(0.02, np.float32),
        "z": np.array(0, np.int8),
    }
    graph = graph_of(
        """g (float[1, 32, 32, 32] x) => (float[1, 32, 32, 32] y) {
            q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
            v = DequantizeLinear(w, s, z) c = Conv(d, v)
            r = QuantizeLinear(c, s, z) e = DequantizeLinear(r, s, z) a = Add(e, map)
            t = QuantizeLinear(a, s, z) f = DequantizeLinear(t, s, z) h = Conv(f, v)
            u = QuantizeLinear(h, s, z) y = DequantizeLinear(u, s, z) }""",
        held,
    )
    x = rng.standard_normal((1, 32, 32, 32)).astype(np.float32)
    options = ort.SessionOptions()
    found = run(make_session(graph, options, CPU, share=True), {"x": x})
    wanted = run(unoptimized(graph), {"x": x})
    # A sum that is rounded to the other byte moves the next layer's by some steps.
    assert np.mean(np.abs(found["y"] - wanted["y"]) > 0.01) < 0.01


def test_shared_weights_outlive_their_graph():
    """The runtime holds addresses, so the session holds the arrays."""
    gc.freeze()  # else all that earlier tests left is looked through twice
    values = np.random.default_rng(0).standard_normal((300, 400)).astype(np.float32)
    graph = graph_of(
        "g (float[300, 400] x) => (float[300, 400] y) { y = Add(x, w) }", {"w": values.copy()}
    )
    made = unoptimized(graph)
    held = weakref.ref(graph.nodes[0].inputs[1]._values)
    del graph
    gc.collect()
    assert held() is not None
    found = run(made, {"x": np.zeros_like(values)})
    np.testing.assert_array_equal(found["y"], values)
    del made
    gc.collect()
    assert held() is None


BRANCH = """g (float[4, 300] x, bool c) => (float[] y, float[] z) {
    y = MatMul(x, w)
    z = If (c) <then_branch = t () => (float[] a) { a = MatMul(y, v) },
                else_branch = e () => (float[] b) { b = Neg(w) }>
    u = Relu(v)
}"""


def test_many_weights_are_fed_from_where_they_lie(monkeypatch):
    """Inputs are read in place; initializers are copied while a session is made."""
    generator = np.random.default_rng(0)
    shapes = {"w": (300, 400), "v": (400, 200)}
    weights = {n: generator.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    x = generator.standard_normal((4, 300)).astype(np.float32)
    graph = graph_of(BRANCH, weights)
    assert not hasattr(unoptimized(graph), "fed_weights")
    monkeypatch.setattr(module, "_FED", 1)
    fed = unoptimized(graph)
    assert {*fed.fed_weights} == {"w", "v"}
    held = [t.values for node in graph.nodes for t in node.inputs if t.name in weights]
    assert all(any(np.shares_memory(a, b) for b in held) for a in fed.fed_weights.values())
    y = x @ weights["w"]
    for condition, z in ((True, y @ weights["v"]), (False, -weights["w"])):
        found = run(fed, {"x": x, "c": np.array(condition)})
        np.testing.assert_allclose(found["y"], y, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(found["z"], z, rtol=1e-4, atol=1e-2)


def test_a_default_that_is_fed_gives_way_to_a_feed(monkeypatch):
    monkeypatch.setattr(module, "_FED", 1)
    weight = np.random.default_rng(0).standard_normal((300, 400)).astype(np.float32)
    graph = graph_of(
        "g (float[300, 400] x) => (float[300, 400] y) { y = Add(x, w) }", {"w": weight}
    )
    graph.inputs.append(graph.nodes[0].inputs[1])  # a default, which a feed may replace
    made = unoptimized(graph)
    x = np.ones_like(weight)
    np.testing.assert_array_equal(run(made, {"x": x})["y"], weight + 1)
    np.testing.assert_array_equal(run(made, {"x": x, "w": x})["y"], x + x)


def test_an_unaligned_or_transposed_weight():
    raw = np.zeros(4 * 40_000 + 1, np.uint8)
    unaligned = raw[1:].view(np.float32).reshape(200, 200)
    unaligned[:] = np.random.default_rng(0).standard_normal((200, 200))
    graph = graph_of(
        "g (float[200, 200] x) => (float[200, 200] y) { y = Add(x, w) }", {"w": unaligned}
    )
    x = np.ones((200, 200), np.float32)
    for weight in (unaligned, unaligned.copy().T):
        graph.nodes[0].inputs[1]._values = weight
        found = run(session(graph), {"x": x})
        np.testing.assert_array_equal(found["y"], weight + 1)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("bfloat16", ml_dtypes.bfloat16),
        ("float8e4m3fn", ml_dtypes.float8_e4m3fn),
        ("float8e5m2", ml_dtypes.float8_e5m2),
    ],
)
@pytest.mark.parametrize("shape", [(2, 3), (), (0,)])
def test_element_types_that_numpy_lacks(kind, dtype, shape):
    dims = ", ".join(map(str, shape))
    graph = graph_of(f"g ({kind}[{dims}] x) => ({kind}[{dims}] y) {{ y = Identity(x) }}")
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    found = run(session(graph), {"x": x})["y"]
    assert found.dtype == x.dtype
    assert found.shape == shape
    assert found.tobytes() == x.tobytes()


def test_bfloat16_arithmetic():
    graph = graph_of("g (bfloat16[4] x) => (float[4] y) { y = Cast<to=1>(x) }")
    x = np.array([1, 1.0078125, -3e38, np.inf], ml_dtypes.bfloat16)
    found = run(session(graph), {"x": x})["y"]
    np.testing.assert_array_equal(found, x.astype(np.float32))


def test_strings():
    graph = graph_of("g (string[2] x) => (string[2] y) { y = Identity(x) }")
    x = np.array(["a", "grün"], object)
    assert run(session(graph), {"x": x})["y"].tolist() == ["a", "grün"]


def test_a_graph_that_is_refused_says_why_on_one_line():
    graph = graph_of("g (float[2] x, float[3] z) => (float[3] y) { y = Add(x, z) }")
    graph.nodes[0].op = "Nonsense"
    with pytest.raises(ExecutionError, match="Nonsense") as caught:
        session(graph)
    assert "\n" not in str(caught.value)


def test_a_graph_that_fails_while_running_says_why():
    graph = graph_of("g (float[N] x, float[M] z) => (float[K] y) { y = Add(x, z) }")
    feeds = {"x": np.zeros(2, np.float32), "z": np.zeros(3, np.float32)}
    with pytest.raises(ExecutionError, match="failed while running"):
        run(session(graph), feeds)


def test_the_graph_may_be_collected_while_the_session_lives():
    made = session(graph_of("g (float[400, 400] x) => (float[400, 400] y) { y = Mul(x, w) }",
                            {"w": np.full((400, 400), 3, np.float32)}))  # fmt: skip
    junk = [np.full((400, 400), 9, np.float32) for _ in range(4)]
    x = np.ones((400, 400), np.float32)
    assert (run(made, {"x": x})["y"] == 3).all()
    assert len(junk) == 4
