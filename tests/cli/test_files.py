"""What a command reads and writes: IN OUT, several into a folder, `-` for the standard streams."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import onnx
import pytest

from planish.cli.show import console
from planish.passes.pipeline import pipeline

from tests.cli.common import assert_refused


def run(*words, **options):
    command = [sys.executable, "-m", "planish", *map(str, words)]
    return subprocess.run(command, capture_output=True, timeout=120, **options)


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def test_in_and_out(call, model, out):
    code, shown, _ = call("optimize", model, out)
    assert code == 0
    assert operators(out) == ["Conv"]
    assert shown.splitlines()[-1].startswith(f"{model}: ")


@pytest.mark.parametrize("command", ["optimize", "compile"])
def test_json_has_the_models_before_one_that_is_refused(call, model, tmp_path, command):
    (tmp_path / "not.onnx").write_text("text")
    made = tmp_path / "made"
    code, shown, error = call(command, model, tmp_path / "not.onnx", "-o", made, "--json")
    assert code == 2
    assert "is not an ONNX model" in error
    (found,) = json.loads(shown)["models"]
    assert found["output"] == str(made / model.name)
    assert call(command, tmp_path / "not.onnx", "--json")[1] == ""


def test_several_models_go_to_a_folder(call, model, out, tmp_path):
    other = tmp_path / "other.onnx"
    shutil.copy(model, other)
    third = tmp_path / "third.onnx"
    shutil.copy(model, third)
    folder = out.parent / "made"
    code, shown, _ = call("optimize", model, other, third, "-o", folder)
    assert code == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in (model, other, third)
    )
    assert shown.count("verified: ") == 3
    assert all(operators(path) == ["Conv"] for path in folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{m}", "{m}", "{m}"], "3 models with no -o; give a folder"),
        (["{m}", "{m}", "-o", "{m}"], "give a folder"),
        (["{m}", "{m}", "-o", "{d}/f"], "no name of its own"),
        (["{m}", "-", "-o", "{d}/f"], "no name of its own"),
    ],
)
def test_what_has_no_place_is_refused(call, model, tmp_path, arguments, says):
    words = [word.format(m=model, d=tmp_path) for word in arguments]
    before = model.read_bytes()
    assert_refused(call("optimize", *words), says)
    assert model.read_bytes() == before
    assert not (tmp_path / "f").exists()


@pytest.mark.slow
def test_standard_streams(model, out):
    """The model alone goes to standard output: the same bytes as to a file."""
    run("optimize", model, "-o", out)
    done = run("optimize", "-", "-o", "-", input=model.read_bytes())
    assert done.returncode == 0
    assert done.stdout == out.read_bytes()
    assert b"verified: " in done.stderr
    shown = run(
        "inspect", "-", "--json", "--peak-gflops", 1, "--bandwidth-gbs", 1, input=done.stdout
    )
    assert len(json.loads(shown.stdout)["nodes"]) == 1


@pytest.mark.slow
def test_json_beside_a_model_on_standard_output(model):
    done = run("optimize", "-", "-o", "-", "--json", input=model.read_bytes())
    assert json.loads(done.stderr)["models"][0]["inputs"] == {"x": [2, 3, 9, 9]}
    assert onnx.load_from_string(done.stdout).graph.node


def test_where_json_goes_to_standard_error_it_is_alone_there(capsys):
    console.set_verbosity(quiet=False, verbose=False, as_json=True)
    console.warn("before")
    console.give_standard_output_away()
    console.teller(as_json=True)("random inputs -> x")
    console.warn("doubtful")
    console.print_json({"models": []})
    shown = capsys.readouterr()
    assert shown.out == ""
    told, _, rest = shown.err.partition("\n")
    assert told == "warning: before"
    assert json.loads(rest) == {"models": [], "warnings": ["doubtful"]}
    console.set_verbosity(quiet=False, verbose=False)


@pytest.mark.slow
def test_what_is_no_model_is_refused_on_a_stream_too():
    done = run("optimize", "-", "-o", "-", input=b"nothing")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"error: the given data is not an ONNX model")


def test_a_compiled_network_is_no_stream(call, model):
    assert_refused(call("compile", model, "-o", "-"), "is a file")


@pytest.mark.slow
@pytest.mark.parametrize("words", [["passes"], ["passes", "--json"]])
def test_a_reader_that_has_left_is_no_failure(words):
    command = [sys.executable, "-m", "planish", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        started.stdout.close()
        assert started.stderr.read() == b""
    assert started.returncode == 141


@pytest.fixture
def apart(model, tmp_path):
    """Return a model whose weights lie beside it under a name of another exporter."""
    path = tmp_path / "apart.onnx"
    onnx.save(
        onnx.load(model), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    return path


def test_sizes_have_the_files_of_weights(call, apart, out):
    code, shown, _ = call("optimize", apart, out, "--json")
    assert code == 0
    weights = apart.with_name("w.bin")
    (found,) = json.loads(shown)["models"]
    assert weights.stat().st_size > 0
    assert found["before"]["bytes"] == apart.stat().st_size + weights.stat().st_size
    assert found["after"]["bytes"] == out.stat().st_size


@pytest.mark.parametrize(
    "command",
    [["optimize"], ["compile"], ["reduce", "--wrong", "-p", "exact"], ["doctor", "-p", "exact"]],
)
def test_weights_of_the_model_are_not_replaced(call, apart, command):
    weights = apart.with_name("w.bin")
    before = weights.read_bytes()
    assert_refused(call(*command, apart, "-o", weights), str(weights), str(apart))
    assert weights.read_bytes() == before


def test_the_file_may_go_during_the_run(call, model, out, monkeypatch):
    size, run = model.stat().st_size, pipeline.run_passes

    def gone(*given):
        model.unlink()
        return run(*given)

    monkeypatch.setattr(pipeline, "run_passes", gone)
    code, shown, error = call("optimize", model, out, "--json")
    assert code == 0, error
    assert json.loads(shown)["models"][0]["before"]["bytes"] == size
    assert operators(out) == ["Conv"]
