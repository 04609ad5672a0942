"""External data: mapped, checked, and never read from outside the model's folder."""

import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import planish
from planish.ir.core.errors import LoadError

from tests.helpers import run_ort

WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


def write(folder, *, location="w.bin", data=None, array=WEIGHTS, **entries):
    """Write `model.onnx`, whose weights are said to be at `location`, and the data to `w.bin`."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor = TensorProto(name="w", data_type=kind, dims=array.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(text))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", kind, array.shape)],
        [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    if data is None:
        data = numpy_helper.from_array(array).raw_data
    (folder / "w.bin").write_bytes(data)
    return folder / "model.onnx"


def constant(path):
    return planish.load(path).nodes[0].inputs[0].values


def test_the_values_are_those_onnx_reads(tmp_path):
    path = write(tmp_path)
    np.testing.assert_array_equal(constant(path), WEIGHTS)
    (expected,) = (numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer)
    np.testing.assert_array_equal(constant(path), expected)


@pytest.mark.parametrize("offset", [0, 1, 4096])
def test_offset_and_length(tmp_path, offset):
    data = bytes(offset) + WEIGHTS.tobytes() + b"more"
    path = write(tmp_path, data=data, offset=offset, length=24)
    np.testing.assert_array_equal(constant(path), WEIGHTS)
    graph = planish.load(path)
    np.testing.assert_array_equal(planish.lower(graph)({})["y"], WEIGHTS)


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.5, -2], ml_dtypes.bfloat16),
        np.array([-8, 7, 3], ml_dtypes.int4),
        np.array([True, False]),
        np.array([[1.5]], ml_dtypes.float8_e5m2),
        np.zeros((0, 3), np.float32),
        np.array(2.5, np.float64),
    ],
    ids=lambda a: f"{a.dtype}-{a.shape}",
)
def test_every_element_type_that_has_a_form_in_a_file(tmp_path, array):
    found = constant(write(tmp_path, array=array))
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


def test_a_folder_below_the_model_is_allowed(tmp_path):
    path = write(tmp_path, location="sub/w.bin")
    (tmp_path / "sub").mkdir()
    (tmp_path / "w.bin").rename(tmp_path / "sub" / "w.bin")
    np.testing.assert_array_equal(constant(path), WEIGHTS)


def test_a_link_inside_the_folder_is_allowed(tmp_path):
    path = write(tmp_path, location="link")
    (tmp_path / "link").symlink_to("w.bin")
    np.testing.assert_array_equal(constant(path), WEIGHTS)


def test_a_model_reached_through_a_link_has_the_folder_of_its_target(tmp_path):
    path = write(tmp_path / "real")
    (tmp_path / "link.onnx").symlink_to(path)
    np.testing.assert_array_equal(constant(tmp_path / "link.onnx"), WEIGHTS)


def test_every_way_out_of_the_folder_is_refused(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(WEIGHTS.tobytes())
    folder = tmp_path / "models"
    (tmp_path / "modelsecret").mkdir()  # a folder whose name merely starts alike
    (tmp_path / "modelsecret" / "w.bin").write_bytes(WEIGHTS.tobytes())
    write(folder)
    (folder / "sub").mkdir()
    (folder / "link").symlink_to(secret)
    (folder / "out").symlink_to(tmp_path)
    (folder / "near").symlink_to(tmp_path / "modelsecret")
    refused = [
        "../secret.bin",
        "sub/../../secret.bin",
        "sub/../w.bin",
        "..\\secret.bin",
        str(secret),
        "C:\\secret.bin",
        "\\\\server\\share\\secret.bin",
        "link",
        "out/secret.bin",
        "near/w.bin",
        "",
        ".",
        "sub",
        "..",
        "w.bin\0.txt",
    ]
    for location in refused:
        write(folder, location=location)
        with pytest.raises(LoadError, match="external data of tensor 'w'"):
            planish.load(folder / "model.onnx")


def test_a_missing_file_a_device_and_a_pipe_are_refused(tmp_path):
    path = write(tmp_path)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(LoadError, match=r"'w'.*w\.bin.*No such file"):
        planish.load(path)
    os.mkfifo(tmp_path / "w.bin")
    with pytest.raises(LoadError, match="not a regular file"):
        planish.load(path)


@pytest.mark.parametrize(
    ("data", "entries", "message"),
    [
        (WEIGHTS.tobytes()[:-1], {}, "has 23 bytes"),
        (b"", {}, "has 0 bytes"),
        (None, {"offset": 4}, "ends at byte 28"),
        (None, {"offset": 2**63}, "has 24 bytes"),
        (None, {"length": 20}, "needs 24 bytes"),
        (None, {"length": 28}, "needs 24 bytes"),
        (None, {"offset": -1}, "not a number"),
        (None, {"offset": "four"}, "not a number"),
        (None, {"offset": "9" * 5000}, "not a number"),
    ],
)
def test_data_that_do_not_fit_are_refused(tmp_path, data, entries, message):
    with pytest.raises(LoadError, match=message) as caught:
        planish.load(write(tmp_path, data=data, **entries))
    assert "'w'" in str(caught.value)


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.UNDEFINED, 99])
def test_element_types_without_a_form_in_a_file_are_refused(tmp_path, kind):
    path = write(tmp_path)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].data_type = kind
    path.write_bytes(model.SerializeToString())
    with pytest.raises(LoadError, match=f"element type {kind}"):
        planish.load(path)


def test_a_negative_shape_is_refused(tmp_path):
    path = write(tmp_path)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].dims[:] = [-2, -3]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(LoadError, match="negative shape"):
        planish.load(path)


def test_bytes_and_protos_have_no_folder(tmp_path, monkeypatch):
    path = write(tmp_path)
    monkeypatch.chdir(tmp_path)  # the current folder must not stand in for it
    with pytest.raises(LoadError, match="pass the file's path"):
        planish.load(path.read_bytes())
    with pytest.raises(LoadError, match="pass the file's path"):
        planish.load(onnx.load(path, load_external_data=False))


def sparse_model(folder, location):
    values = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    values.data_location = TensorProto.EXTERNAL
    values.external_data.add(key="location", value=location)
    indices = numpy_helper.from_array(np.array([1, 3], np.int64), "i")
    sparse = onnx.SparseTensorProto(values=values, indices=indices, dims=[4])
    listed = helper.make_node("Any", ["w"], ["z"], domain="d")
    listed.attribute.add(name="all", type=onnx.AttributeProto.TENSORS).tensors.append(values)
    shown = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"]), listed], "g", [], [shown]
    )
    graph.sparse_initializer.append(sparse)
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("d", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def test_sparse_tensors_and_lists_of_tensors_come_inside(tmp_path):
    (tmp_path / "w.bin").write_bytes(np.array([5, 7], np.float32).tobytes())
    model = planish.to_model(planish.load(sparse_model(tmp_path, "w.bin")))
    held = [model.graph.sparse_initializer[0].values, model.graph.node[1].attribute[0].tensors[0]]
    for tensor in held:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), [5, 7])
    with pytest.raises(LoadError, match="leaves the model's folder"):
        planish.load(sparse_model(tmp_path, "../w.bin"))


def test_saving_over_the_mapped_files_is_safe(tmp_path):
    array = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    path = write(tmp_path, array=array)
    planish.save(planish.load(path), path, external=True)
    graph = planish.load(path)
    planish.save(graph, path, external=True)
    np.testing.assert_array_equal(graph.nodes[0].inputs[0].values, array)
    np.testing.assert_array_equal(run_ort(onnx.load(path), {})["y"], array)


LARGE = """
import sys, planish
def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
before = anonymous()
graph = planish.load(sys.argv[1])
loaded = anonymous()
assert graph.nodes[0].inputs[1].values[-1, -1] == 7
planish.save(graph, sys.argv[2])
print(loaded - before, anonymous() - before)
"""


@pytest.mark.slow
def test_weights_over_2_gb_are_mapped_and_saved_beside_the_model(tmp_path):
    shape = (640, 1 << 20)  # 2.5 GiB of float32
    path = write(tmp_path, location="big.bin")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].dims[:] = shape
    model.graph.node[0].CopyFrom(helper.make_node("Add", ["x", "w"], ["y"]))
    model.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, shape))
    path.write_bytes(model.SerializeToString())
    size = 4 * shape[0] * shape[1]
    with (tmp_path / "big.bin").open("wb") as file:
        file.truncate(size - 4)
        file.seek(size - 4)
        file.write(np.float32(7).tobytes())
    out = tmp_path / "out" / "saved.onnx"
    out.parent.mkdir()
    command = [sys.executable, "-c", LARGE, str(path), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded, saved = (int(number) for number in done.stdout.split())
    assert loaded < 100_000  # kB, of 2.6 million
    assert saved < 200_000
    assert sorted(p.name for p in out.parent.iterdir()) == ["saved.onnx", "saved.onnx.data"]
    assert Path(f"{out}.data").stat().st_size == size
    again = planish.load(out).nodes[0].inputs[1].values
    assert again.shape == shape
    assert again[-1, -1] == 7
    assert not again[::50, ::4096][:-1].any()
