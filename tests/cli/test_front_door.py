"""What a person meets first: files to write, and options that would change nothing."""

import json
import os

import numpy as np
import pytest

import planish

from tests.cli.common import X, assert_refused
from tests.helpers import graph_of


@pytest.mark.parametrize("command", ["optimize", "compile"])
def test_without_an_output_nothing_is_written_and_a_line_says_so(call, model, command):
    code, shown, _ = call(command, model)
    assert code == 0
    assert "verified" in shown
    assert "nothing was written; add -o FILE" in shown.splitlines()[-1]
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.parametrize("command", ["optimize", "compile"])
def test_a_link_is_written_through_and_a_pipe_is_refused(call, model, tmp_path, command):
    target, link, pipe = tmp_path / "target.onnx", tmp_path / "link.onnx", tmp_path / "pipe"
    link.symlink_to(target)
    os.mkfifo(pipe)
    code, shown, _ = call(command, model, "-o", link)
    assert code == 0
    assert str(link) in shown
    assert link.is_symlink()
    assert planish.load(target).nodes
    assert_refused(call(command, model, "-o", pipe), "pipe")
    assert pipe.is_fifo()


@pytest.fixture
def feeds(tmp_path):
    np.savez(tmp_path / "feeds.npz", x=X)
    return tmp_path / "feeds.npz"


@pytest.mark.parametrize("command", ["optimize", "compile", "compare", "explain-int8"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shape", "x=1,3,9,9"], ["--shape", "leave one"]),
        (["--shape", "xx=1,3,9,9"], ["'xx'", "did you mean 'x'"]),
        (["--mean", "0.5"], ["--mean scales images"]),
        (["--std", "2"], ["--std scales images"]),
    ],
)
def test_options_beside_feeds_that_would_change_nothing(
    call, model, feeds, command, options, words
):
    models = [model, model] if command == "compare" else [model]
    assert_refused(call(command, *models, "--feeds", feeds, *options), *words)


@pytest.mark.parametrize("command", ["optimize", "compile", "compare", "bench"])
def test_a_shape_for_no_input_names_the_nearest(call, model, command):
    models = [model, model] if command == "compare" else [model]
    result = call(command, *models, "--shape", "xx=1,3,9,9")
    assert_refused(result, "'xx'", "did you mean 'x'")


@pytest.mark.parametrize("target", ["gpu", "abacus", "cuda"])
def test_optimize_refuses_a_target_that_is_not_here(call, model, target, monkeypatch):
    for backend in planish.backends.contract.registry.all_backends().values():
        monkeypatch.setattr(backend, "targets", lambda self: ["cpu"])
    assert_refused(call("optimize", model, "--target", target), f"'{target}'", "which has cpu")


def test_optimize_refuses_an_unknown_option_of_a_target(call, model):
    assert_refused(call("optimize", model, "--target", "cpu{thread=2}"), "did you mean 'threads'")
    assert call("optimize", model, "--target", "cpu{threads=2}")[0] == 0


def test_inspect_refuses_a_size_of_no_dimension(call, model):
    assert_refused(call("inspect", model, "--size", "M=8"), "'M'", "known are N")
    flags = ["--peak-gflops", 10, "--bandwidth-gbs", 10]
    code, shown, _ = call("inspect", model, "--size", "N=8", "--json", *flags)
    assert code == 0
    assert json.loads(shown)["macs"] > 0


@pytest.mark.parametrize("options", [["--top", 1], ["--most", 1]])
def test_inspect_shows_as_many_as_asked_in_json_and_of_groups(call, model, options):
    flags = ["--peak-gflops", 10, "--bandwidth-gbs", 10]
    whole = json.loads(call("inspect", model, *flags, "--json")[1])
    assert len(whole["nodes"]) > 1
    found = json.loads(call("inspect", model, *flags, *options, "--json")[1])
    assert len(found["nodes"]) == len(found["roofline"]["nodes"]) == 1
    assert found["macs"] == whole["macs"]
    if "--top" in options:
        times = [node["seconds"] for node in whole["roofline"]["nodes"]]
        assert found["roofline"]["nodes"][0]["seconds"] == max(times)
    code, shown, _ = call("inspect", model, "--groups", *options)
    assert code == 0
    assert shown.count("made by") <= 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("n = Relu(x)\n m = Neg(n)\n o = Sub(m, one)\n y = Log(o)", "NaN or infinite throughout"),
        ("n = Relu(x)\n m = Neg(n)\n y = Relu(m)", "is 0 throughout"),
    ],
)
def test_compare_says_where_being_equal_shows_nothing(call, tmp_path, body, says):
    weights = {"one": np.array(1, np.float32)} if "one" in body else {}
    text = f"g (float[2, 3] x) => (float[2, 3] y) {{ {body} }}"
    planish.save(graph_of(text, weights), tmp_path / "m.onnx")
    arguments = ["compare", tmp_path / "m.onnx", tmp_path / "m.onnx"]
    code, shown, err = call(*arguments)
    assert code == 0
    assert err.count("warning: ") == 1
    assert "warning: nothing was shown: output 'y' is" in err
    assert says in err
    assert shown.splitlines()[2].split() == ["y", "0", "0", "?", "?"]
    found = json.loads(call(*arguments, "--json")[1])["outputs"][0]
    assert (found["sqnr_db"], found["cosine"]) == (None, None)
    assert call(*arguments, "--tolerance", 0.1)[0] == 3
