"""The OpenVINO backend, against ONNX Runtime with its optimizations off."""

import threading

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given, settings

import planish
from planish.backends.openvino.narrowed import feed_limit
from planish.backends.openvino.properties import properties
from planish.ir.core.errors import BackendError, ExecutionError, FeedError
from planish.ir.ops.shapes.infer import infer_types

from tests.effort import examples
from tests.helpers import conv_batchnorm, graph_of, relative_error, run_ort
from tests.strategies import networks

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'planish[openvino]'")

MODEL = conv_batchnorm(8)
CONV = (
    "g (float[N, 3, H, W] x) => (float[N, 8, I, J] y) "
    "{ [conv] z = Conv <kernel_shape = [3, 3]> (x, w)\n [relu] y = Relu(z) }"
)
WEIGHT = {"w": np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32)}
RELU = "g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"


def drawn(*shape):
    return np.random.default_rng([1, *shape]).standard_normal(shape).astype(np.float32)


def test_one_network_serves_every_size():
    graph = graph_of(CONV, WEIGHT)
    compiled = planish.lower(graph, "openvino", threads=1)
    for shape in ((1, 3, 9, 9), (3, 3, 12, 7)):
        x = drawn(*shape)
        found = compiled({"x": x})
        assert list(found) == ["y"]
        assert relative_error(run_ort(planish.to_model(graph), {"x": x})["y"], found["y"]) <= 1e-5


@given(case=networks())
@settings(max_examples=examples(50))
def test_random_networks(case):
    """It has another answer to NaN and infinity, and computes halves inside in float32."""
    expected = run_ort(case.model, case.feeds)
    floats = [a for a in (*case.feeds.values(), *expected.values()) if a.dtype.kind == "f"]
    assume(all(np.isfinite(values).all() for values in floats))
    try:
        compiled = planish.lower(planish.load(case.model), "openvino", threads=1)
    except BackendError as error:
        assert "float64 in float32" in str(error)  # noqa: PT017 - any other refusal is a fault
        return
    halves = "16-bit floats inside are computed in float32" in compiled.remarks
    found = compiled(case.feeds)
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        assert relative_error(values, found[name]) <= (2e-3 if halves else 1e-4), name


def test_fused_operators_are_handed_over_as_what_they_stand_for():
    graph = graph_of(CONV, WEIGHT)
    fused = planish.Pipeline.parse("fuse-conv-activation").run(graph).graph
    assert [node.domain for node in fused.nodes] == ["planish"]
    found = planish.lower(fused, "openvino", verify=True)
    x = {"x": drawn(1, 3, 9, 9)}
    assert relative_error(run_ort(planish.to_model(graph), x)["y"], found(x)["y"]) <= 1e-5
    assert found.verdict.startswith("verified")


def test_threads_and_precision_reach_it():
    assert properties(3, "bfloat16") == {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": 3,
        "INFERENCE_PRECISION_HINT": "bf16",
    }
    compiled = planish.lower(graph_of(RELU), "openvino", "cpu{threads=1}")
    assert compiled._compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert str(compiled._compiled.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"
    assert compiled.remarks == ()
    narrow = planish.lower(graph_of(RELU), "openvino", precision="bfloat16")
    assert narrow.remarks == ("floats are computed in bf16",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "bf16"}, r"precision is 'bf16'.*'bfloat16'"),
        ({"precison": "float32"}, r"no option 'precison' \(did you mean 'precision'\?\)"),
        ({"threads": 0}, "threads is 0; give 1 or more"),
        ({"target": "cuda"}, "'openvino' has no target 'cuda'; it has cpu"),
        ({"target": "cpu{thread=1}"}, r"'thread' \(did you mean 'threads'\?\)"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(BackendError, match=message):
        planish.lower(graph_of(RELU), "openvino", **arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "g (double[2] x) => (float[2] y) { z = Exp(x)\n y = Cast <to = 1> (z) }",
            "float64 in float32, at input 'x'",
        ),
        (
            "g (float[2] x) => (float[2] y) "
            "{ w = Cast <to = 11> (x)\n z = Exp(w)\n y = Cast <to = 1> (z) }",
            "float64 in float32, at node Cast -> 'w'",
        ),
        ("g (uint64[2] x) => (uint64[2] y) { y = Identity(x) }", "uint64 in int32, at input 'x'"),
        ("g (uint8[2] x) => (uint8[2] y) { y = Add(x, x) }", "saturates uint8.*Add -> 'y'"),
        (
            'g (uint8[2] x) => (uint8[2] y) { y = BitShift <direction = "LEFT"> (x, x) }',
            "saturates uint8.*BitShift -> 'y'",
        ),
        ("g (int32[2] x) => (int8[2] y) { y = Cast <to = 3> (x) }", "saturates int8.*Cast -> 'y'"),
        ("g (int64[2] x) => (int64[2] y) { y = Pow(x, x) }", "int64 in int32.* node Pow -> 'y'"),
        ("g (float[2] x) => (int64[2] y) { y = Cast <to = 7> (x) }", "node Cast -> 'y' may leave"),
        ("g (float[2, 2] x) => (float d) { d = Det(x) }", "has no Det, at node Det -> 'd'"),
        ("g (string[2] x) => (string[2] y) { y = Identity(x) }", "no strings here, at input 'x'"),
    ],
)
def test_what_it_would_compute_otherwise_is_refused_by_name(text, message):
    with pytest.raises(BackendError, match=message):
        planish.lower(graph_of(text), "openvino")


def test_bytes_that_are_only_moved_are_taken():
    text = "g (uint8[2, 3] x) => (uint8[3, 2] y) { y = Transpose <perm = [1, 0]> (x) }"
    x = np.array([[1, 2, 250], [4, 5, 6]], np.uint8)
    found = planish.lower(graph_of(text), "openvino")({"x": x})["y"]
    np.testing.assert_array_equal(found, x.T)
    assert found.dtype == np.uint8


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("{ y = Mul(x, x) }", 32767),
        ("{ a = Add(x, x)\n b = Neg(a)\n y = Sub(b, x) }", (1 << 29) - 1),
        (
            "{ e = Constant <value = int64[1] {9223372036854775807}> ()\n"
            " b = Constant <value = int64[1] {1}> ()\n y = Slice(x, b, e) }",
            (1 << 31) - 1,
        ),
        ("{ a = Abs(x)\n y = ReduceSum (a) }", (1 << 30) - 1),
        ("{ y = Transpose(x) }", (1 << 31) - 1),
        # Sizes, places and bounded floats are small whatever is fed.
        ("{ s = Shape(x)\n p = Mul(s, s)\n y = Mul(p, s) }", (1 << 31) - 1),
        ("{ a = ArgMax <axis = 0> (x)\n y = Mul(a, a) }", (1 << 31) - 1),
        (
            "{ f = Cast <to = 1> (x)\n s = Sigmoid(f)\n a = Cast <to = 7> (s)\n y = Add(a, a) }",
            (1 << 31) - 1,
        ),
        ("{ f = Cast <to = 1> (x)\n i = Cast <to = 7> (f)\n y = Gather(x, i) }", (1 << 31) - 1),
    ],
)
def test_integers_whose_results_would_leave_32_bits_are_refused_when_they_come(text, limit):
    graph = graph_of(f"g (int64[2] x) => (int64[n] y) {text}")
    assert feed_limit(graph, infer_types(graph)).largest == limit


def test_what_may_be_fed_is_right_and_what_may_not_is_told():
    graph = graph_of("g (int64[2] x) => (int64[2] y) { [sq] y = Mul(x, x) }")
    compiled = planish.lower(graph, "openvino", threads=1)
    found = compiled({"x": np.array([-32767, 3])})["y"]
    np.testing.assert_array_equal(found, [32767**2, 9])
    with pytest.raises(FeedError, match=r"'x' holds 100000, .*node 'sq' .*beyond 32767; use"):
        compiled({"x": np.array([0, 100000])})


def test_integers_beyond_32_bits_are_refused_when_they_come():
    text = "g (int64[2] x) => (int64[2] y) { y = Neg(x) }"
    compiled = planish.lower(graph_of(text), "openvino")
    np.testing.assert_array_equal(compiled({"x": np.array([-3, 2**31 - 1])})["y"], [3, 1 - 2**31])
    with pytest.raises(FeedError, match=r"'x' holds 2147483648.*int64 in int32"):
        compiled({"x": np.array([0, 2**31])})
    assert compiled.remarks == ("OpenVINO computes int64 in int32",)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_halves_go_in_and_come_out(dtype):
    name = "float16" if dtype is np.float16 else "bfloat16"
    text = f"g ({name}[2, 2] x) => ({name}[2, 2] y) {{ y = Relu(x) }}"
    x = np.array([[1.5, -2], [0.25, 3]], dtype)
    found = planish.lower(graph_of(text), "openvino")({"x": x})["y"]
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found.astype(np.float32), [[1.5, 0], [0.25, 3]])


@pytest.mark.parametrize(
    "laid",
    [
        lambda x: x.T.copy().T,
        lambda x: x[::-1],
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: np.broadcast_to(x[:1], x.shape),
        lambda x: np.frombuffer(x.tobytes(), np.float32).reshape(x.shape),
    ],
    ids=["transposed", "flipped", "strided", "broadcast", "read-only"],
)
def test_feeds_may_lie_in_memory_in_any_way(laid):
    x = laid(drawn(64, 4))
    compiled = planish.lower(graph_of(RELU), "openvino", threads=1)
    np.testing.assert_array_equal(compiled({"x": x})["y"], np.maximum(x, 0))


def test_halves_inside_are_spoken_of():
    text = (
        "g (float[2] x) => (float[2] y) { h = Cast <to = 10> (x)\n e = Exp(h)\n "
        "y = Cast <to = 1> (e) }"
    )
    assert planish.lower(graph_of(text), "openvino").remarks == (
        "16-bit floats inside are computed in float32",
    )


def test_inputs_that_are_not_read_or_only_go_by_another_name():
    text = (
        "g (float[2] a, float[2] b, float[2] c) => (float[2] y) "
        "{ d = Identity(c)\n e = Identity(a)\n y = Sub(d, e) }"
    )
    feeds = {name: np.full(2, 2.0**i, np.float32) for i, name in enumerate("abc")}
    found = planish.lower(graph_of(text), "openvino")(feeds)["y"]
    np.testing.assert_array_equal(found, [3, 3])


def test_feeds_that_do_not_fit_are_named():
    compiled = planish.lower(graph_of(RELU), "openvino")
    with pytest.raises(FeedError, match="'x' has shape"):
        compiled({"x": drawn(2, 5)})
    with pytest.raises(FeedError, match="no feed for graph input 'x'"):
        compiled({})


def test_what_fails_in_a_run_is_one_sentence():
    text = "g (float[N, 4] x, float[M, 4] z) => (float[K, 4] y) { y = Add(x, z) }"
    compiled = planish.lower(graph_of(text), "openvino")
    with pytest.raises(ExecutionError, match=r"^OpenVINO failed: [^\n]*$"):
        compiled({"x": drawn(2, 4), "z": drawn(3, 4)})


def test_results_stay_when_it_runs_again_and_other_threads_run():
    compiled = planish.lower(graph_of(RELU), "openvino", threads=1)
    first = compiled({"x": np.ones((1, 4), np.float32)})["y"]
    wrong = []

    def run(value):
        x = np.full((2, 4), value, np.float32)
        for _ in range(50):
            wrong.extend(x[compiled({"x": x})["y"] != x])

    workers = [threading.Thread(target=run, args=(float(i + 2),)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
    np.testing.assert_array_equal(first, np.ones((1, 4)))


def test_weights_that_are_inputs_by_default_are_constants():
    graph = planish.load(MODEL)
    weight = next(t for t in graph.tensors().values() if t.name == "w")
    graph.inputs.append(weight)
    compiled = planish.lower(graph, "openvino", threads=1)
    assert [port.name for port in compiled.inputs] == ["x"]
    assert compiled.remarks == ("values by default are fixed: w (1 in all)",)
    x = drawn(1, 3, 9, 9)
    assert relative_error(run_ort(MODEL, {"x": x})["y"], compiled({"x": x})["y"]) <= 1e-5


def test_layers_are_timed():
    compiled = planish.lower(graph_of(CONV, WEIGHT), "openvino", threads=1)
    times = compiled.time_layers({"x": drawn(1, 3, 9, 9)}, rounds=3)
    (layer,) = [layer for layer in times.layers if layer.multiply_adds]
    assert layer.multiply_adds == 8 * 3 * 3 * 3 * 7 * 7
    assert layer.nodes == ("conv", "relu")
    assert layer.operators == ("Convolution",)
    assert layer.dtype == "float32"
    assert times.peaks["float32"] > 0
