"""The ONNX Runtime backend."""

import errno

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest

import planish
from planish.backends.onnxruntime import backend as module
from planish.ir.core.errors import BackendError, ExecutionError, FeedError, SaveError

from tests.helpers import conv_batchnorm, graph_of, run_ort

MODEL = conv_batchnorm(8)
X = np.random.default_rng(1).standard_normal((2, 3, 9, 9)).astype(np.float32)


@pytest.mark.parametrize("optimization", ["all", "extended", "basic", "none"])
def test_every_level_computes_the_same(optimization):
    compiled = planish.lower(planish.load(MODEL), f"onnxruntime{{optimization={optimization}}}")
    found = compiled({"x": X})
    assert list(found) == ["y"]
    np.testing.assert_allclose(found["y"], run_ort(MODEL, {"x": X})["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("optimization", "fused"), [("none", False), ("basic", True), ("all", True)]
)
def test_the_level_reaches_the_runtime(tmp_path, optimization, fused):
    graph = planish.load(MODEL)
    graph.inputs[0].shape = [2, 3, 9, 9]
    path = tmp_path / "out.onnx"
    planish.lower(graph, optimization=optimization).save(path)
    assert ("BatchNormalization" not in {n.op_type for n in onnx.load(path).graph.node}) == fused


def test_threads_reach_the_runtime(monkeypatch):
    asked = []
    original = module.make_session

    def spy(graph, options, providers):
        asked.append((options.intra_op_num_threads, providers))
        return original(graph, options, providers)

    monkeypatch.setattr(module, "make_session", spy)
    graph = planish.load(MODEL)
    planish.lower(graph, threads=3)
    planish.lower(graph, target="cpu{threads=2}")
    planish.lower(graph, target="cpu{threads=2}", threads=1)
    planish.lower(graph)
    cpu = ["CPUExecutionProvider"]
    assert asked == [(3, cpu), (2, cpu), (1, cpu), (0, cpu)]  # 0: the runtime's own choice


def test_the_graph_may_change_afterwards():
    graph = planish.load(MODEL)
    compiled = planish.lower(graph)
    graph.nodes.clear()
    graph.inputs[0].name = "renamed"
    graph.outputs.clear()
    assert compiled({"x": X})["y"].shape == (2, 8, 9, 9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "gpu"}, r"no target 'gpu' \(did you mean 'cpu'\?\)"),
        ({"target": "cpu{thread=2}"}, r"'thread' \(did you mean 'threads'\?\)"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": -1}, "threads is -1"),
        ({"optimization": "ful"}, "optimization is 'ful'"),
        ({"optimisation": "all"}, r"no option 'optimisation' \(did you mean 'optimization'\?\)"),
        ({"providers": ["CUDAExecutionProvder"]}, "no CUDAExecutionProvder; choose among"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(BackendError, match=message):
        planish.lower(planish.load(MODEL), **arguments)


def test_providers_are_asked_for_in_order(monkeypatch):
    available = ["AExecutionProvider", "BExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(module.ort, "get_available_providers", lambda: available)
    target = module.Target("cpu")
    order = ["BExecutionProvider", "CPUExecutionProvider", "AExecutionProvider"]
    assert module.providers_for(target, order) == order
    assert module.providers_for(target, None) == ["CPUExecutionProvider"]
    with pytest.raises(BackendError, match="no CExecutionProvider"):
        module.providers_for(target, ["CPUExecutionProvider", "CExecutionProvider"])


@pytest.mark.parametrize(("kind", "provider"), [("cuda", "CUDA"), ("tensorrt", "Tensorrt")])
def test_a_device_this_build_cannot_use_is_refused(monkeypatch, kind, provider):
    monkeypatch.setattr(module.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendError, match=f"no {provider}ExecutionProvider; install"):
        planish.lower(planish.load(MODEL), target=kind)


def test_a_provider_that_does_not_start_is_no_quiet_fall_back():
    class Fallen:
        def get_providers(self):
            return ["CPUExecutionProvider"]

    with pytest.raises(BackendError, match="has CUDAExecutionProvider but could not start it"):
        module._check_provider(Fallen(), ["CUDAExecutionProvider", "CPUExecutionProvider"])
    module._check_provider(Fallen(), ["CPUExecutionProvider"])


def test_targets_are_those_of_this_build():
    found = module.OnnxRuntime().targets()
    assert "cpu" in found
    assert ("cuda" in found) == ("CUDAExecutionProvider" in ort.get_available_providers())


def test_wrong_feeds_are_refused_before_anything_runs():
    compiled = planish.lower(planish.load(MODEL))
    for feeds, message in (
        ({}, "no feed for graph input 'x'"),
        ({"x": X, "z": X}, "'z' is no input"),
        ({"x": X.astype(np.float64)}, "float64"),
        ({"x": X[:, :2]}, r"\[2, 2, 9, 9\]"),
        ({"x": X.tolist()}, "list"),
    ):
        with pytest.raises(FeedError, match=message):
            compiled(feeds)


def test_what_the_runtime_refuses_is_said():
    graph = planish.load(MODEL)
    graph.nodes[0].op = "Nonsense"
    with pytest.raises(ExecutionError, match="Nonsense"):
        planish.lower(graph)


def test_a_saved_session_is_loaded_and_runs_the_same(tmp_path):
    path = tmp_path / "out.onnx"
    compiled = planish.lower(planish.load(MODEL), threads=1)
    compiled.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["out.onnx"]
    loaded = planish.load_compiled(path, threads=1)
    np.testing.assert_array_equal(loaded({"x": X})["y"], compiled({"x": X})["y"])
    with pytest.raises(FeedError, match="'z'"):
        loaded({"z": X})
    loaded.save(tmp_path / "again.onnx")
    again = planish.load_compiled(tmp_path / "again.onnx")
    np.testing.assert_allclose(again({"x": X})["y"], loaded({"x": X})["y"], rtol=1e-5, atol=1e-5)


def test_a_large_model_is_saved_whole(tmp_path):
    weight = np.random.default_rng(0).standard_normal((400, 400)).astype(np.float32)
    graph = graph_of("g (float[1, 400] x) => (float[1, 400] y) { y = MatMul(x, w) }", {"w": weight})
    planish.lower(graph).save(tmp_path / "out.onnx")
    x = np.random.default_rng(1).standard_normal((1, 400)).astype(np.float32)
    found = planish.load_compiled(tmp_path / "out.onnx")({"x": x})["y"]
    np.testing.assert_allclose(found, x @ weight, rtol=1e-4, atol=1e-4)


def test_files_that_are_no_session_are_refused(tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(MODEL.SerializeToString()[:-7])
    with pytest.raises(planish.PlanishError, match=r"bad\.onnx.*not an ONNX model"):
        planish.load_compiled(path)
    broken = onnx.ModelProto()
    broken.CopyFrom(MODEL)
    broken.graph.node[0].op_type = "Nonsense"
    path.write_bytes(broken.SerializeToString())
    with pytest.raises(BackendError, match=r"cannot load '.*bad\.onnx'.*lower the model again"):
        planish.load_compiled(path)


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "out.onnx"
    path.write_text("old")
    compiled = planish.lower(planish.load(MODEL))

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SaveError, match="No space left"):
        compiled.save(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.onnx"]


def test_bfloat16_and_strings():
    for kind, x in (
        ("bfloat16", np.array([1.5, -2, 3e38], ml_dtypes.bfloat16)),
        ("string", np.array(["a", "", "grün"], object)),
        ("float16", np.array([1.5, -2, 6e4], np.float16)),
    ):
        graph = graph_of(f"g ({kind}[3] x) => ({kind}[3] y) {{ y = Identity(x) }}")
        found = planish.lower(graph)({"x": x})["y"]
        assert found.dtype == x.dtype
        assert found.tolist() == x.tolist()


def test_fused_operators_run():
    text = "g (float[1, 3, 9, 9] x) => (float[1, 4, 7, 7] y) { c = Conv(x, w)\n y = Relu(c) }"
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    before = graph_of(text, {"w": weight})
    after = planish.Pipeline.parse("fuse-conv-activation").run(before).graph
    assert after.nodes[0].domain == "planish"
    expected = run_ort(planish.to_model(before), {"x": X[:1]})["y"]
    for optimization in ("none", "all"):
        found = planish.lower(after, optimization=optimization)({"x": X[:1]})["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
