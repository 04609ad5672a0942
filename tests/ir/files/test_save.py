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
from planish.ir.files.data_file import bytes_on_disk

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


KILLED = """
import os, signal, sys
import numpy as np
import planish
from planish.ir.files import data_file

point, path, after = int(sys.argv[1]), sys.argv[2], np.load(sys.argv[3])
graph = planish.load(path)
graph.nodes[0].inputs[1].values = after
done = 0

def dying(function):
    def step(*arguments):
        global done
        if done == point:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        return function(*arguments)
    return step

os.replace = dying(os.replace)
data_file.Path.unlink = dying(data_file.Path.unlink)
planish.save(graph, path, external=True)
"""


@pytest.mark.parametrize("point", [0, 1, 2])
def test_a_process_killed_between_two_files_leaves_a_model_with_its_own_weights(tmp_path, point):
    """The data under their new name, the model, the old data: killed before each of the three."""
    text = "g (float[400] x) => (float[400] y) { y = Add(x, w) }"
    before, after = np.zeros(400, np.float32), np.ones(400, np.float32)
    path = tmp_path / "m.onnx"
    planish.save(graph_of(text, {"w": before}), path, external=True)
    np.save(tmp_path / "after.npy", after)
    command = [sys.executable, "-c", KILLED, str(point), str(path), str(tmp_path / "after.npy")]
    assert subprocess.run(command, check=False).returncode == -9
    found = planish.load(path).nodes[0].inputs[1].values
    np.testing.assert_array_equal(found, after if point == 2 else before)
    assert len([n for n in names(tmp_path) if n.endswith(".data")]) == (1 if point == 0 else 2)
    planish.save(graph_of(text, {"w": after}), path, external=True)
    np.testing.assert_array_equal(planish.load(path).nodes[0].inputs[1].values, after)
    assert len([n for n in names(tmp_path) if n.endswith(".data")]) == 1


def test_the_same_weights_keep_their_file(tmp_path):
    text = "g (float[400] x) => (float[400] y) { y = Add(x, w) }"
    path = tmp_path / "m.onnx"
    graphs = [graph_of(text, {"w": np.full(400, value, np.float32)}) for value in (0, 1)]
    planish.save(graphs[0], path, external=True)
    assert names(tmp_path) == ["m.onnx", "m.onnx.data"]
    planish.save(graphs[1], path, external=True)
    found, model = names(tmp_path), path.read_bytes()
    assert len(found) == 2
    assert found[1] != "m.onnx.data"
    planish.save(graphs[1], path, external=True)
    assert names(tmp_path) == found
    assert path.read_bytes() == model
    assert bytes_on_disk(path) == sum(file.stat().st_size for file in tmp_path.iterdir())


def test_weights_lie_beside_the_file_that_a_link_names(tmp_path):
    text = "g (float[400] x) => (float[400] y) { y = Add(x, w) }"
    (tmp_path / "store").mkdir()
    link, target = tmp_path / "link.onnx", tmp_path / "store" / "real.onnx"
    link.symlink_to(target)
    for value in (0, 1):
        planish.save(graph_of(text, {"w": np.full(400, value, np.float32)}), link, external=True)
        for path in (link, target):
            found = planish.load(path).nodes[0].inputs[1].values
            np.testing.assert_array_equal(found, np.full(400, value))
    assert names(tmp_path) == ["link.onnx", "store"]
    assert link.is_symlink()
    assert len(names(target.parent)) == 2
    assert bytes_on_disk(link) == sum(file.stat().st_size for file in target.parent.iterdir())
