"""Saving: whole or not at all."""

import errno
import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import planish
from planish.ir.core.errors import SaveError
from planish.ir.files import save as save_module

from tests.helpers import conv_batchnorm, graph_of, run_ort

X = np.random.default_rng(1).standard_normal((2, 3, 9, 9)).astype(np.float32)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("external", [None, True, False])
@pytest.mark.parametrize("portable", [True, False])
def test_what_is_saved_runs_as_before(tmp_path, external, portable):
    before = conv_batchnorm(32)
    fused = planish.load(before)
    path = tmp_path / "out.onnx"
    planish.save(fused, path, external=external, portable=portable)
    assert names(tmp_path) == ["out.onnx", "out.onnx.data"] if external else ["out.onnx"]
    found = onnx.load(path)
    onnx.checker.check_model(str(path))
    np.testing.assert_array_equal(run_ort(found, {"x": X})["y"], run_ort(before, {"x": X})["y"])


def test_portable_leaves_no_operator_of_the_planish_domain(tmp_path):
    text = "g (float[1, 3, 9, 9] x) => (float[1, 4, 7, 7] y) { c = Conv(x, w)\n y = Relu(c) }"
    weights = {"w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)}
    graph = planish.Pipeline.parse("fuse-conv-activation").run(graph_of(text, weights)).graph
    assert {node.domain for node in graph.nodes} == {"planish"}
    for external in (True, False):
        path = tmp_path / "out.onnx"
        planish.save(graph, path, portable=True, external=external)
        model = onnx.load(path)
        assert [node.op_type for node in model.graph.node] == ["Conv", "Relu"]
        assert not model.functions
        assert [entry.domain for entry in model.opset_import] == [""]
        expected = run_ort(planish.to_model(graph), {"x": X[:1]})["y"]
        np.testing.assert_array_equal(run_ort(model, {"x": X[:1]})["y"], expected)


def test_the_same_graph_gives_the_same_bytes(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        planish.save(planish.load(conv_batchnorm(32)), tmp_path / name)
        planish.save(planish.load(tmp_path / name), tmp_path / f"again-{name}")
    data = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(data) == 1


def test_a_new_file_obeys_the_umask_and_replaces_the_old(tmp_path):
    path = tmp_path / "out.onnx"
    path.write_text("old")
    old = os.umask(0o027)
    try:
        planish.save(planish.load(conv_batchnorm()), path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o640
    assert onnx.load(path).graph.node


def test_weights_of_every_type_go_beside_the_model(tmp_path):
    generator = np.random.default_rng(0)
    arrays = {
        "a": generator.standard_normal((40, 40)).astype(np.float32),
        "b": generator.standard_normal((40, 40)).astype(ml_dtypes.bfloat16),
        "c": generator.integers(-8, 8, (40, 80)).astype(ml_dtypes.int4),
        "d": generator.integers(0, 2, (40, 40)).astype(bool),
        "e": np.asfortranarray(generator.standard_normal((40, 41)).astype(np.float32)),
        "s": np.array(["text"] * 400, dtype=object),
    }
    reads = "\n".join(f"z_{n} = Shape({n})" for n in arrays)
    outputs = ", ".join(f"int64[1] z_{n}" for n in arrays)
    graph = graph_of(f"g () => ({outputs}) {{ {reads} }}", arrays)
    path = tmp_path / "out.onnx"
    planish.save(graph, path, external=True)
    bare = onnx.load(path, load_external_data=False).graph.initializer
    assert {t.name for t in bare if t.external_data} >= {"a", "b", "d"}
    for tensor in onnx.load(path).graph.initializer:
        found = numpy_helper.to_array(tensor)
        assert found.dtype == arrays[tensor.name].dtype
        assert found.tolist() == arrays[tensor.name].tolist()
    for tensor in bare:  # so that a reader may map each tensor by itself
        entries = {entry.key: entry.value for entry in tensor.external_data}
        assert int(entries.get("offset", 0)) % 4096 == 0


@pytest.mark.parametrize("external", [True, False])
def test_a_folder_or_a_missing_folder_leaves_nothing(tmp_path, external):
    graph = planish.load(conv_batchnorm(32))
    folder = tmp_path / "out.onnx"
    folder.mkdir()
    with pytest.raises(SaveError, match="is a folder"):
        planish.save(graph, folder, external=external)
    with pytest.raises(SaveError, match="No such file"):
        planish.save(graph, tmp_path / "none" / "out.onnx", external=external)
    assert names(tmp_path) == ["out.onnx"]
    assert names(folder) == []


@pytest.mark.parametrize("external", [True, False])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failure_before_the_rename_keeps_the_old_files(tmp_path, monkeypatch, external, error):
    path = tmp_path / "out.onnx"
    planish.save(planish.load(conv_batchnorm(16)), path, external=external)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fail(_):
        raise error

    monkeypatch.setattr(save_module.os, "fsync", fail)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else SaveError
    with pytest.raises(expected):
        planish.save(planish.load(conv_batchnorm(32)), path, external=external)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


FULL_DISK = """
import resource, signal, sys, planish
graph = planish.load(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))
try:
    planish.save(graph, sys.argv[2], external=sys.argv[3] == "external")
except planish.PlanishError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", ["external", "inside"])
def test_a_full_disk_leaves_nothing_behind(tmp_path, kind):
    source = tmp_path / "in.onnx"
    source.write_bytes(conv_batchnorm(64).SerializeToString())
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-c", FULL_DISK, str(source), str(out / "out.onnx"), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert "File too large" in done.stdout
    assert names(out) == []


def test_a_file_name_of_the_greatest_length(tmp_path):
    path = tmp_path / ("m" * 250 + ".onnx")
    planish.save(planish.load(conv_batchnorm()), path)
    assert names(tmp_path) == [path.name]


def test_weights_over_2_gb_do_not_fit_one_proto():
    large = np.broadcast_to(np.float32(0), (1 << 15, 1 << 15))  # 4 GiB that take 4 bytes
    graph = graph_of("g (float[1] x) => (float[1] y) { y = Add(x, w) }", {"w": np.zeros(1, "f")})
    graph.nodes[0].inputs[1]._values = large
    with pytest.raises(SaveError, match="over the 2 GB"):
        planish.to_model(graph)
