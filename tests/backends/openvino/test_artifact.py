"""Networks that OpenVINO compiled, as files."""

import json

import numpy as np
import pytest

import planish
from planish.backends.contract.registry import describe, written_by
from planish.backends.openvino import artifact
from planish.ir.core.errors import BackendError, SaveError

from tests.helpers import conv_batchnorm

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'planish[openvino]'")

X = np.random.default_rng(1).standard_normal((2, 3, 9, 9)).astype(np.float32)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("openvino") / "m.planish"
    compiled = planish.lower(planish.load(conv_batchnorm(8)), "openvino", threads=1, verify=True)
    compiled.save(path)
    return path, compiled


def test_it_says_what_it_is_and_runs(saved):
    path, compiled = saved
    assert written_by(path) == "openvino"
    loaded = planish.load_compiled(path)
    np.testing.assert_array_equal(loaded({"x": X})["y"], compiled({"x": X})["y"])
    assert (loaded.inputs, loaded.outputs) == (compiled.inputs, compiled.outputs)
    assert loaded.verdict == compiled.verdict != ""
    lines = describe(path)
    assert lines[0].startswith("compiled by OpenVINO")
    assert lines[-1] == compiled.verdict
    assert "INFERENCE_NUM_THREADS=1" in lines[2]


def test_a_loaded_one_is_saved_again_and_has_no_layers(saved, tmp_path):
    loaded = planish.load_compiled(saved[0], threads=2)
    loaded.save(tmp_path / "again.planish")
    again = planish.load_compiled(tmp_path / "again.planish")
    np.testing.assert_array_equal(again({"x": X})["y"], loaded({"x": X})["y"])
    assert "INFERENCE_NUM_THREADS=2" in describe(tmp_path / "again.planish")[2]
    with pytest.raises(BackendError, match="lower the model itself"):
        again.time_layers({"x": X})


@pytest.mark.parametrize("at", [3, 25, 60, -1])
def test_damage_is_noticed(saved, tmp_path, at):
    data = bytearray(saved[0].read_bytes())
    data[at] ^= 1
    (tmp_path / "bad.planish").write_bytes(data)
    with pytest.raises(BackendError, match=r"bad\.planish' is (damaged|no network)"):
        planish.load_compiled(tmp_path / "bad.planish", "openvino")


def test_another_version_is_named(saved, tmp_path, monkeypatch):
    header, blob = artifact.read(saved[0])
    path = tmp_path / "other.planish"
    with open(path, "wb") as file:
        artifact.write(file, artifact.Described(**{**vars(header), "version": "2020.1"}), blob)
    with pytest.raises(BackendError, match=r"OpenVINO 2020\.1 and this is 20.*lower the model"):
        planish.load_compiled(path)


def test_a_header_of_something_else_is_damage(saved, tmp_path):
    path = tmp_path / "odd.planish"
    for told in ([], {"inputs": 3}, {"inputs": [], "outputs": [], "other": 1}):
        text = json.dumps(told).encode()

        def fill(writer, text=text):
            writer.write(len(text).to_bytes(8, "little") + text)

        with open(path, "wb") as file:
            artifact.SEAL.write(file, fill)
        with pytest.raises(BackendError, match="its header cannot be read"):
            planish.load_compiled(path)


def test_where_it_cannot_be_written_is_said(saved, tmp_path):
    with pytest.raises(SaveError, match="cannot write"):
        saved[1].save(tmp_path / "none" / "m.planish")
