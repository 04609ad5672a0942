"""The commands: what they write, print and return."""

import json
import re

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.cli.common import X, assert_refused
from tests.helpers import conv_batchnorm, model_of, run_ort


def test_optimize_writes_a_model_that_runs_as_before(call, model, out):
    code, shown, err = call("optimize", model, "-o", out, "--why")
    assert (code, err) == (0, "")
    assert "fold-batchnorm" in shown
    assert "verified: largest error" in shown
    assert [p.name for p in out.parent.iterdir()] == ["out.onnx"]
    optimized = onnx.load(out)
    assert [n.op_type for n in optimized.graph.node] == ["Conv"]
    expected = run_ort(onnx.load(model), {"x": X})["y"]
    np.testing.assert_allclose(run_ort(optimized, {"x": X})["y"], expected, rtol=1e-4, atol=1e-5)


def test_what_is_not_exact_is_measured_and_noise_warned_of(call, tmp_path, model, out):
    np.savez(tmp_path / "f.npz", x=X)
    arguments = ["-p", "fold-batchnorm,prune{amount=0.95}", "--feeds", tmp_path / "f.npz"]
    code, shown, err = call("optimize", model, "-o", out, *arguments)
    assert code == 0
    line = next(line for line in shown.splitlines() if line.startswith("measured: "))
    assert re.fullmatch(r"measured: SQNR -?[\d.]+ dB(;.*)?; [\d.]+ of the size", line)
    assert err.startswith("warning: output 'y' is at ")
    assert "scale and mean" in err


def test_optimize_in_place(call, model):
    size = model.stat().st_size
    code, shown, _ = call("optimize", model, "-o", model)
    assert code == 0
    assert model.stat().st_size < size
    before, after = shown.splitlines()[-1].split(" -> ")
    assert before.split(": ")[1] != after.split(": ")[1]
    assert [n.op_type for n in onnx.load(model).graph.node] == ["Conv"]


def test_compile_then_bench_what_was_compiled(call, model, out):
    code, shown, _ = call("compile", model, "-o", out, "--target", "cpu{threads=1}")
    assert code == 0
    assert "verified" in shown
    arguments = ["--compiled", "--rounds", 3, "--warmup", 0, "--json"]
    code, shown, _ = call("bench", out, *arguments)
    assert code == 0
    (timing,) = json.loads(shown)["timings"]
    assert timing["rounds"] == 3
    assert timing["batch"] == 2
    assert 0 < timing["min_ms"] <= timing["median_ms"] <= timing["p90_ms"]


def test_bench_names_every_model_and_batch(call, model):
    arguments = ["--batch", 1, "--batch", 3, "--rounds", 3, "--threads", 1, "--json"]
    code, shown, _ = call("bench", model, model, *arguments)
    assert code == 0
    found = json.loads(shown)
    assert found["threads"] == 1
    assert [t["batch"] for t in found["timings"]] == [1, 3, 1, 3]
    first = found["timings"][0]
    assert first["ratio"] == 1
    assert first["samples_per_second"] == pytest.approx(1000 / first["median_ms"])


def test_compare_exits_with_1_beyond_the_tolerance(call, tmp_path, model):
    other = tmp_path / "other.onnx"
    changed = onnx.load(model)
    for tensor in changed.graph.initializer:
        if tensor.name == "shift":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1, "shift"))
    other.write_bytes(changed.SerializeToString())
    assert call("compare", model, other)[0] == 0
    assert call("compare", model, model, "--tolerance", 0)[0] == 0
    code, shown, _ = call("compare", model, other, "--tolerance", 0.001)
    assert code == 1
    row = next(line for line in shown.splitlines() if line.startswith("y "))
    assert float(row.split()[1]) == pytest.approx(1, rel=0.01)


def test_compare_uses_the_feeds(call, tmp_path, model):
    np.savez(tmp_path / "f.npz", x=X)
    assert call("compare", model, model, "--feeds", tmp_path / "f.npz", "--tolerance", 0)[0] == 0
    np.savez(tmp_path / "f.npz", z=X)
    assert_refused(call("compare", model, model, "--feeds", tmp_path / "f.npz"), "'z'")


# What a machine is said to do need not be measured: that is tested with the roofline.
GIVEN = ("--peak-gflops", 100, "--bandwidth-gbs", 10)


def test_inspect_counts_by_hand(call, model):
    code, shown, _ = call("inspect", model, "--json", "--size", "N=2", *GIVEN)
    assert code == 0
    found = json.loads(shown)
    assert found["macs"] == 2 * 8 * 9 * 9 * 3 * 3 * 3
    assert found["parameters"] == 8 * 3 * 3 * 3 + 4 * 8
    assert found["unknown"] == 0
    code, shown, _ = call("inspect", model, "--most", 1, *GIVEN)
    assert "1 more" in shown


def test_names_that_look_like_markup_are_shown_as_they_are(call, tmp_path):
    made = conv_batchnorm()
    made.graph.node[0].name = "[/red]a[bold]"
    made.graph.output[0].name = made.graph.node[1].output[0] = "y[/green]"
    path = tmp_path / "[red].onnx"
    path.write_bytes(made.SerializeToString())
    code, shown, _ = call("inspect", path, *GIVEN)
    assert code == 0
    assert "[/red]a[bold]" in shown
    code, shown, _ = call("compare", path, path)
    assert code == 0
    assert "y[/green]" in shown
    code, shown, _ = call("optimize", path, "-o", tmp_path / "[o].onnx", "--why")
    assert code == 0
    assert "[red].onnx" in shown
    assert "[o].onnx" in shown


def test_passes_and_backends_are_listed(call):
    code, shown, _ = call("passes")
    assert code == 0
    assert "fold-batchnorm" in shown
    assert "cleanup" in shown
    code, shown, _ = call("backends")
    assert code == 0
    row = next(line for line in shown.splitlines() if line.startswith("onnxruntime"))
    assert "cpu" in row


def test_bisect_finds_nothing_in_a_right_pipeline(call, model):
    code, shown, _ = call("bisect", model, "--pipeline", "exact")
    assert code == 0
    assert "every edit keeps the result" in shown


def test_inspect_shows_groups_of_channels(call, model):
    code, shown, err = call("inspect", model, "--groups")
    assert (code, err) == (0, "")
    first = shown.splitlines()[0]
    assert "8 channels" in first
    assert "its output is a graph output" in shown
    found = json.loads(call("inspect", model, "--groups", "--json", "--most", 1)[1])
    assert found["count"] >= len(found["groups"]) == 1
    group = found["groups"][0]
    assert f"'{group['name']}'" in shown or group["name"] in shown
    assert group["channels"] == 8
    assert {one["role"] for one in group["constants"]} <= {
        "makes", "bias", "reads", "carries", "scales", "shifts", "follows",
    }  # fmt: skip
    assert all(one["name"] for one in group["tensors"])


@pytest.mark.parametrize(
    ("options", "left"), [((), ["Reciprocal"]), (("--signed-zeros",), ["Add", "Reciprocal"])]
)
def test_optimize_tells_zeros_apart_where_asked(call, tmp_path, out, options, left):
    model = model_of(
        "g (float[6] x) => (float[6] y) { a = Add(x, z) y = Reciprocal(a) }", {"z": np.float32(0)}
    )
    onnx.save(model, tmp_path / "zeros.onnx")
    code, _, err = call("optimize", tmp_path / "zeros.onnx", "-o", out, *options)
    assert code == 0, err
    assert [node.op_type for node in onnx.load(out).graph.node] == left


def test_a_name_stays_in_its_line(call, tmp_path):
    path = tmp_path / "m.onnx"
    given = model_of("g (float[2, 4] x) => (float[2, 4] y) { h = Abs(x) y = Sqrt(h) }")
    given.graph.node[0].name, given.graph.node[1].name = "two\nlines", "a\ttab\x1b[2J"
    given.graph.node[0].input[0] = given.graph.input[0].name = "in\nput"
    onnx.save(given, path)
    _, shown, _ = call("inspect", path, "--peak-gflops", "10", "--bandwidth-gbs", "10")
    lines = shown.splitlines()
    assert lines[0].startswith(r"input in\nput: ")
    assert lines[-3].startswith(r"'two\nlines' (Abs) ")
    assert lines[-2].startswith(r"'a\ttab\x1b[2J' (Sqrt) ")
    assert lines[-1].startswith("total ")


def test_a_name_in_an_error_stays_in_its_line_and_tells_the_terminal_nothing(call, tmp_path):
    given = model_of(
        "g (float[1, 16] x) => (float[1, 4, 4] y) { y = Reshape(x, s) }", {"s": [1, 4, 4]}
    )
    given.graph.node[0].name = "two\nlines\x1b[2J"
    onnx.save(given, tmp_path / "m.onnx")
    args = ("optimize", tmp_path / "m.onnx", "--input-shape", "x=1,64")
    code, _, err = call(*args)
    assert code == 2
    assert r"'two\nlines\x1b[2J' (Reshape)" in err
    assert "\x1b" not in err
    code, _, err = call("optimize", tmp_path / "m.onnx", "-p", "exact,nothing")
    assert len(err.splitlines()) == 3  # carets stay below their line
