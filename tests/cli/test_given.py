"""The model that a command is given: sizes set by --input-shape, weights that are inputs frozen."""

import json

import numpy as np
import onnx
import pytest

import planish

from tests.cli.common import assert_refused
from tests.helpers import model_of, run_ort

RNG = np.random.default_rng(0)


def detector(n, h, w):
    """A small detector as older exporters write it: one size everywhere, weights as inputs."""
    weights = {
        "w": RNG.standard_normal((4, 3, 3, 3)).astype("f"),
        "s": np.ones(4, "f"),
        "b": np.zeros(4, "f"),
        "m": RNG.standard_normal(4).astype("f"),
        "v": np.full(4, 2, "f"),
        "sizes": np.array([n, 4, h, w]),
        "h": RNG.standard_normal((2, 4, 1, 1)).astype("f"),
    }
    made = model_of(
        f"""<ir_version: 6, opset_import: ["" : 13]>
        g (float[{n}, 3, {h}, {w}] input.1) => (float[{n}, 2, {h}, {w}] y) {{
            c = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(input.1, w)
            d = BatchNormalization(c, s, b, m, v) r = Relu(d)
            u = Resize<mode = "nearest">(r, , , sizes) y = Conv(u, h) }}""".replace("input.1", "x"),
        weights,
    )
    for tensor in made.graph.initializer:
        value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        made.graph.input.append(value)
    return made


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old.onnx"
    onnx.save(detector(10, 8, 8), path)
    return path


def test_optimize_at_another_size(call, old, out):
    code, shown, _ = call("optimize", old, "-o", out, "--input-shape", "x=1,3,16,12")
    assert code == 0
    assert "7 weights are also inputs, now frozen; --mutable-initializers" in shown
    assert "x: [10,3,8,8] -> [1,3,16,12]; output y [1,2,16,12]" in shown
    assert "verified: " in shown
    written = onnx.load(out)
    onnx.checker.check_model(written, full_check=True)
    assert [t.name for t in written.graph.input] == ["x"]
    assert "BatchNormalization" not in {node.op_type for node in written.graph.node}
    model = onnx.load(old)
    model.graph.initializer[5].CopyFrom(
        onnx.numpy_helper.from_array(np.array([1, 4, 16, 12]), "sizes")
    )
    for tensor in (model.graph.input[0], model.graph.output[0]):
        for dim, size in zip(tensor.type.tensor_type.shape.dim, (1, None, 16, 12), strict=True):
            dim.dim_value = size or dim.dim_value
    feed = {"x": RNG.standard_normal((1, 3, 16, 12)).astype("f")}
    np.testing.assert_allclose(
        run_ort(written, feed)["y"], run_ort(model, feed)["y"], rtol=0, atol=1e-5
    )


def test_weights_stay_inputs_where_asked_and_where_feeds_give_them(call, old, out, tmp_path):
    code, shown, _ = call("optimize", old, "-o", out, "--mutable-initializers")
    assert code == 0
    assert "frozen" not in shown
    assert len(onnx.load(out).graph.input) == 8
    feeds = {"x": np.zeros((10, 3, 8, 8), "f"), "m": np.ones((10, 4), "f")}
    np.savez(tmp_path / "feeds.npz", **feeds)
    _, shown, error = call("optimize", old, "-o", out, "--feeds", tmp_path / "feeds.npz")
    assert "6 weights are also inputs" in shown
    assert "feed 'm'" in error or "BatchNormalization" in {n.op for n in planish.load(out).nodes}


def test_from_python():
    graph = planish.load(detector(1, 8, 8), mutable_initializers=False)
    assert [tensor.name for tensor in graph.inputs] == ["x"]
    assert len(planish.load(detector(1, 8, 8)).inputs) == 8
    result = planish.Pipeline.parse("exact").run(graph, strict=True)
    assert "BatchNormalization" not in {node.op for node in result.graph.nodes}


def test_a_file_of_a_version_that_lists_all_weights_stays_valid(call, tmp_path, out):
    made = detector(1, 8, 8)
    made.ir_version = 3
    onnx.save(made, tmp_path / "three.onnx")
    code, shown, _ = call("optimize", tmp_path / "three.onnx", "-o", out)
    assert code == 0
    assert "frozen" not in shown  # they were no defaults
    onnx.checker.check_model(onnx.load(out), full_check=True)


@pytest.mark.parametrize(
    "command", ["optimize", "compile", "inspect", "bisect", "bench", "compare"]
)
def test_every_command_that_takes_a_model_takes_its_sizes(call, old, command):
    few = ["--rounds", "1", "--warmup", "0"] if command == "bench" else []
    peak = ["--peak-gflops", "1", "--bandwidth-gbs", "1"] if command == "inspect" else []
    models = [old, old] if command == "compare" else [old]
    code, shown, _ = call(command, *models, "--input-shape", "x=1,3,16,12", *few, *peak)
    assert code == 0
    assert "x: [10,3,8,8] -> [1,3,16,12]; output y [1,2,16,12]" in shown
    result = call(command, *models, "--input-shape", "xx=1,3,16,12", *few, *peak)
    assert_refused(result, "no input and no symbolic size called 'xx'", "did you mean 'x'?")


def test_compare_freezes_what_optimize_freezes(call, old, out, tmp_path):
    """As inputs, weights would be drawn at random, and never be those of the file."""
    assert call("optimize", old, out)[0] == 0
    code, shown, _ = call("compare", old, out, "--tolerance", 1e-5)
    assert code == 0
    assert "7 weights are also inputs, now frozen" in shown
    assert call("compare", old, old, "--mutable-initializers")[0] == 0
    options = ["--input-shape", "x=1,3,16,12"]
    sized = tmp_path / "sized.onnx"
    assert call("optimize", old, sized, *options)[0] == 0
    assert call("compare", old, sized, *options, "--tolerance", 1e-5)[0] == 0


def test_json_is_json_alone(call, old):
    options = ["--peak-gflops", "1", "--bandwidth-gbs", "1", "--json"]
    code, shown, error = call("inspect", old, "--input-shape", "x=2,3,8,8", *options)
    assert code == 0
    assert json.loads(shown)["nodes"]
    assert "[10,3,8,8] -> [2,3,8,8]" in error


def test_a_symbolic_size_is_bound(call, tmp_path, out):
    text = "g (float[batch, 3, H, W] images) => (float[batch, 3, H, W] y) { y = Relu(images) }"
    onnx.save(model_of(text), tmp_path / "dynamic.onnx")
    model = tmp_path / "dynamic.onnx"
    options = ["--input-shape", "batch=1", "--input-shape", "images=?,3,32,16"]
    assert call("optimize", model, "-o", out, *options)[0] == 0
    assert list(planish.load(out).inputs[0].shape) == [1, 3, 32, 16]
    result = call("optimize", model, "-o", out, "--input-shape", "bach=1")
    assert_refused(result, "did you mean 'batch'?")


def test_feeds_are_for_the_graph_behind_the_passes_that_set_its_inputs(call, old, out, tmp_path):
    from PIL import Image

    Image.new("RGB", (20, 30), (9, 99, 199)).save(tmp_path / "one.png")
    pipeline = "set-shapes{shapes=[x:1x3x16x12]},exact"
    options = ["-p", pipeline, "--feeds", tmp_path / "one.png"]
    code, shown, _ = call("optimize", old, "-o", out, *options)
    assert code == 0
    assert "1 image -> x [1,3,16,12]" in shown
    assert "compared from pass 1" in shown
    assert list(planish.load(out).inputs[0].shape) == [1, 3, 16, 12]


def test_the_front_door_of_python(tmp_path):
    from PIL import Image

    Image.new("RGB", (20, 30), (9, 99, 199)).save(tmp_path / "one.png")
    steps = planish.Preprocessing(pixels=(0, 255), resize="letterbox")
    found = planish.optimize(
        planish.load(detector(10, 8, 8)),
        feeds=tmp_path / "one.png",
        input_shape=["x=1,3,16,12"],
        preprocessing=steps,
    )
    assert found.verified
    assert list(found.graph.inputs[0].shape) == [1, 3, 16, 12]
    assert "x: [10,3,8,8] -> [1,3,16,12]; output y [1,2,16,12]" in found.remarks


def batchnorm_of(version):
    """A Conv and a BatchNormalization whose weights are listed as inputs, at IR `version`."""
    made = detector(10, 8, 8)
    made.ir_version = version
    return made


TOLD = {
    3: "also inputs by name, and constants at the file's IR version; --mutable-initializers frees",
    6: "also inputs, now frozen; --mutable-initializers keeps",
}


@pytest.mark.parametrize("version", [3, 6])
def test_weights_are_told_of_and_kept_at_every_version(call, tmp_path, out, version):
    path = tmp_path / "old.onnx"
    made = batchnorm_of(version)
    onnx.save(made, path)
    code, shown, _ = call("optimize", path, "-o", out)
    assert code == 0
    assert f"7 weights are {TOLD[version]}" in shown
    assert [t.name for t in onnx.load(out).graph.input] == ["x"]
    assert call("optimize", path, "-o", out, "--mutable-initializers")[0] == 0
    kept = onnx.load(out)
    assert {t.name for t in kept.graph.input} == {"x", "w", "s", "b", "m", "v", "sizes", "h"}
    x = RNG.standard_normal((10, 3, 8, 8)).astype("f")
    as_it_was = run_ort(made, {"x": x})["y"]
    np.testing.assert_allclose(run_ort(kept, {"x": x})["y"], as_it_was, atol=1e-5)


@pytest.mark.parametrize("version", [3, 6])
def test_feeds_that_name_a_weight_have_its_value(call, tmp_path, out, version):
    path, feeds = tmp_path / "old.onnx", tmp_path / "feeds.npz"
    onnx.save(batchnorm_of(version), path)
    x = RNG.standard_normal((20, 3, 8, 8)).astype("f")
    np.savez(feeds, x=x, s=np.full(4, 3, "f"))
    code, shown, errors = call("optimize", path, "-o", out, "--feeds", feeds)
    assert code == 0, errors
    assert f"6 weights are {TOLD[version]}" in shown
    assert {t.name for t in onnx.load(out).graph.input} == {"x", "s"}
    found = planish.load_feeds(feeds, planish.load(batchnorm_of(6)))
    assert [feed["x"].shape for feed in found] == [(10, 3, 8, 8)] * 2
    assert all((feed["s"] == 3).all() and feed["s"].shape == (4,) for feed in found)
    given = [{"x": x[:10], "s": np.full(4, 3, "f")}]
    result = planish.optimize(path, feeds=given)
    assert {t.name for t in result.graph.inputs} == {"x", "s"}


def test_the_value_of_a_weight_has_its_shape(call, tmp_path, old):
    feeds = tmp_path / "feeds.npz"
    np.savez(feeds, x=np.zeros((10, 3, 8, 8), "f"), s=np.ones((10, 4), "f"))
    assert_refused(call("optimize", old, "--feeds", feeds), "feed 's' has shape [10, 4]")
