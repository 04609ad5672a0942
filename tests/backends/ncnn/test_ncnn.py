"""The ncnn backend, against ONNX Runtime with its optimizations off, and PyTorch in float64."""

import copy
import threading

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings

import planish
from planish.backends.contract.registry import describe, written_by
from planish.backends.ncnn.backend import Ncnn
from planish.backends.ncnn.settings import NcnnSettings
from planish.ir.core.errors import BackendError, FeedError, SaveError
from planish.passes.trust.rounding import rounding_of

from examples import models
from tests.effort import examples
from tests.helpers import graph_of, relative_error, run_ort
from tests.networks import networks as example_networks
from tests.strategies import networks

pytest.importorskip("ncnn", reason="ncnn is not installed: pip install 'planish[ncnn]'")

CONV = (
    "g (float[N, 3, 9, 8] x) => (float[N, 8, 7, 6] y) "
    "{ [conv] z = Conv <kernel_shape = [3, 3]> (x, w)\n [relu] y = Relu(z) }"
)
WEIGHT = {"w": np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32)}
# Of each kind of layer one is enough for every change; `make test-slow` has them all.
_SHORT = ("detector", "shufflenet_v1", "video_cnn")


def drawn(*shape):
    return np.random.default_rng([1, *shape]).standard_normal(shape).astype(np.float32)


@given(case=networks())
@settings(max_examples=examples(50))
def test_random_networks(case):
    """It is right or refused; to NaN and infinity, and near 0 in Tanh, it has other answers."""
    expected = run_ort(case.model, case.feeds)
    floats = [a for a in (*case.feeds.values(), *expected.values()) if a.dtype.kind == "f"]
    assume(all(np.isfinite(values).all() for values in floats))
    try:
        compiled = planish.lower(planish.load(case.model), "ncnn", threads=1)
    except BackendError as error:
        assert str(error).startswith("ncnn ")  # noqa: PT017 - any other refusal is a fault
        return
    found = compiled(case.feeds)
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        assert found[name].shape == values.shape
        close = relative_error(values, found[name]) <= 1e-4
        assert close or np.abs(values - found[name]).max() <= 1e-6, name


@pytest.mark.parametrize(
    "network", example_networks(slow=[name for name in models.NAMES if name not in _SHORT])
)
@torch.no_grad()
def test_example_networks(network):
    """Against float64: what a network amplifies of its own rounding may show, little more."""
    graph = network.traced()
    x = network.inputs(2, seed=3)
    compiled = planish.lower(graph, "ncnn", threads=1)
    assert compiled.remarks == ()
    exact = copy.deepcopy(network.module()).double()(x.double())
    exact = [exact] if isinstance(exact, torch.Tensor) else exact
    feeds = {compiled.inputs[0].name: x.numpy()}
    found = compiled(feeds)
    assert [port.name for port in compiled.outputs] == list(found)
    errors = {}
    for values, port in zip(exact, compiled.outputs, strict=True):
        each = found[port.name]
        assert each.dtype == np.float32
        assert port.shape[1:] == each.shape[1:]
        errors[port.name] = relative_error(values.numpy(), each.astype(np.float64))
    if max(errors.values()) > 1e-5:
        whole = run_ort(planish.to_model(graph), feeds)
        rounding = rounding_of(graph, [feeds], [whole], seed=0).moved
        assert {n: e for n, e in errors.items() if e > max(1e-5, 2 * rounding[n])} == {}


@pytest.mark.parametrize("channels", [16, 32])  # of more ncnn takes no tiles of 6 x 6 on x86
def test_winograds_tiles_are_small_enough_to_be_exact(channels):
    text = (
        f"g (float[N, {channels}, 24, 24] x) => (float[N, {channels}, 24, 24] y) "
        "{ y = Conv <pads = [1, 1, 1, 1]> (x, w) }"
    )
    x, w = drawn(1, channels, 24, 24), drawn(channels, channels, 3, 3)
    found = planish.lower(graph_of(text, {"w": w}), "ncnn", threads=1)({"x": x})["y"]
    exact = torch.conv2d(torch.tensor(x).double(), torch.tensor(w).double(), padding=1)
    assert relative_error(exact.numpy(), found.astype(np.float64)) <= 2e-6


def test_batches_are_run_image_by_image_by_any_thread():
    compiled = planish.lower(graph_of(CONV, WEIGHT), "ncnn", threads=1, verify=True)
    assert compiled.verdict.startswith("verified")
    x = drawn(5, 3, 9, 8)
    expected = run_ort(planish.to_model(graph_of(CONV, WEIGHT)), {"x": x})["y"]
    found = {}

    def run(count):
        found[count] = compiled({"x": x[:count]})["y"]

    threads = [threading.Thread(target=run, args=(count,)) for count in (1, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for count, values in found.items():
        assert relative_error(expected[:count], values) <= 1e-5


def test_values_by_default_are_fixed_and_networks_are_not_pickled():
    text = (
        "g (float[N, 2] x, float[1, 2] d) => (float[N, 2] y) "
        "<float[1, 2] d = {3, 4}> { y = Add(x, d) }"
    )
    compiled = planish.lower(graph_of(text), "ncnn", threads=1)
    assert [port.name for port in compiled.inputs] == ["x"]
    np.testing.assert_array_equal(compiled({"x": np.ones((2, 2), np.float32)})["y"], [[4, 5]] * 2)
    assert compiled.remarks == ("values by default are fixed: d",)
    with pytest.raises(BackendError, match="neither pickled nor copied"):
        copy.copy(compiled)


def test_layers_on_the_last_axis():
    text = (
        "g (float[N, 6, 5, 4] x) => (float[N, 5, 4, 9] y) "
        "{ t = Transpose <perm = [0, 2, 3, 1]> (x)\n "
        "n = LayerNormalization <axis = -1> (t, s, b)\n "
        "g = MatMul(n, w)\n a = Add(g, c)\n y = Gelu(a) }"
    )
    rng = np.random.default_rng(5)
    shapes = {"s": (6,), "b": (6,), "w": (6, 9), "c": (9,)}
    weights = {n: rng.standard_normal(shape).astype(np.float32) for n, shape in shapes.items()}
    graph, x = graph_of(text, weights), {"x": drawn(2, 6, 5, 4)}
    found = planish.lower(graph, "ncnn", threads=1)(x)["y"]
    assert relative_error(run_ort(planish.to_model(graph), x)["y"], found) <= 1e-5


def test_what_joins_images_is_refused():
    texts = (
        "g (float[N, 3] x) => (float[1, 3] y) { y = ReduceMean <axes = [0]> (x) }",
        "g (float[N, 2] x) => (float[2, N] y) { y = Transpose <perm = [1, 0]> (x) }",
        "g (float[N, 2] x) => (float[1, M] y) <int64[2] s = {1, -1}> { y = Reshape(x, s) }",
        "g (float[N, 2] x) => (float[N, 2] y) "
        "{ s = Shape <end = 1> (x)\n f = Cast <to = 1> (s)\n y = Mul(x, f) }",
    )
    for text in texts:
        with pytest.raises(BackendError, match="image"):
            planish.lower(graph_of(text), "ncnn")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("g (double[1, 2] x) => (double[1, 2] y) { y = Relu(x) }", "input 'x' is float64"),
        ("g (float[1, 2, 2] x) => (float[1] d) { d = Det(x) }", "no Det here, at node Det -> 'd'"),
        ("g (float[1, 2] x) => (int64[1, 2] y) { y = Cast <to = 7> (x) }", "no Cast here"),
        ("g (float[1, 2, H, 4] x) => (float[1, 2, H, 4] y) { y = Relu(x) }", "'x' has open sizes"),
        ("g (float[1, 3] x) => (float[1, 3] y) { y = Pow(x, x) }", "exponent is computed"),
        (
            "g (float[1, 1, 5, 5] x) => (float[1, 1, 7, 7] y) <int64[4] s = {1, 1, 7, 7}> "
            '{ y = Resize <mode = "nearest"> (x, , , s) }',
            "which element is nearest is a matter of rounding",
        ),
    ],
)
def test_what_it_would_compute_otherwise_is_refused_by_name(text, message):
    with pytest.raises(BackendError, match=message):
        planish.lower(graph_of(text), "ncnn")


def test_threads_and_precision_reach_it():
    class Told:
        num_threads = 7

    NcnnSettings.of("float32", None).apply(Told)
    assert not any(getattr(Told, name) for name in vars(Told) if "16" in name)
    assert Told.num_threads == 7
    NcnnSettings.of("bfloat16", 2).apply(Told)
    assert Told.use_bf16_storage
    assert not Told.use_fp16_storage
    assert Told.num_threads == 2
    graph, x = graph_of(CONV, WEIGHT), {"x": drawn(1, 3, 9, 8)}
    expected = run_ort(planish.to_model(graph), x)["y"]
    whole, half = (planish.lower(graph, "ncnn", threads=1, precision=p) for p in _PRECISIONS)
    assert whole.remarks == ()
    assert half.remarks == ("floats are computed in float16 where ncnn can",)
    assert 1e-6 < relative_error(expected, half(x)["y"]) < 2e-3
    assert len(half.files.bin) < 0.6 * len(whole.files.bin)


_PRECISIONS = ("float32", "float16")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "fp16"}, "precision is 'fp16'; known are bfloat16, float16, float32"),
        ({"precison": "float32"}, r"no option 'precison' \(did you mean 'precision'\?\)"),
        ({"threads": 0}, "threads is 0; give 1 or more"),
        ({"target": "cuda"}, "'ncnn' has no target 'cuda'; it has cpu"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(BackendError, match=message):
        planish.lower(graph_of(CONV, WEIGHT), "ncnn", **arguments)


def test_feeds_that_do_not_fit_are_named():
    compiled = planish.lower(graph_of(CONV, WEIGHT), "ncnn")
    with pytest.raises(FeedError, match="'x' has shape"):
        compiled({"x": drawn(2, 3, 9, 9)})
    with pytest.raises(FeedError, match="hold \\[0\\] images"):
        compiled({"x": drawn(0, 3, 9, 8)})


def test_an_artifact_says_what_it_is_and_runs(tmp_path):
    path, x = tmp_path / "m.planish", {"x": drawn(2, 3, 9, 8)}
    compiled = planish.lower(graph_of(CONV, WEIGHT), "ncnn", threads=1, verify=True)
    compiled.save(path)
    assert written_by(path) == "ncnn"
    loaded = planish.load_compiled(path, threads=2)
    np.testing.assert_array_equal(loaded(x)["y"], compiled(x)["y"])
    assert (loaded.inputs, loaded.outputs) == (compiled.inputs, compiled.outputs)
    loaded.save(tmp_path / "again.planish")
    lines = describe(tmp_path / "again.planish")
    assert lines[0].startswith("for ncnn, made beside 1.")
    assert "precision=float32, threads=2" in lines
    assert lines[-1] == compiled.verdict != ""
    for at in (3, 25, 60, -1):
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        (tmp_path / "bad.planish").write_bytes(data)
        with pytest.raises(BackendError, match=r"bad\.planish' is (damaged|no network)"):
            planish.load_compiled(tmp_path / "bad.planish", "ncnn")
    with pytest.raises(SaveError, match="cannot write"):
        compiled.save(tmp_path / "none" / "m.planish")


def test_without_the_package_the_way_to_it_is_said(monkeypatch):
    monkeypatch.setattr(Ncnn, "lacking", lambda self: {"cpu": "pip install 'planish[ncnn]'"})
    assert Ncnn().targets() == []
    with pytest.raises(BackendError, match=r"planish\[ncnn\]"):
        planish.lower(graph_of(CONV, WEIGHT), "ncnn")
