"""Commands on the TVM backend: tuning, what was compiled, single layers."""

import json
import os
import sqlite3

import numpy as np
import onnx
import pytest

import planish

from tests.cli.common import assert_refused
from tests.helpers import model_of

pytest.importorskip("tvm")

from planish.backends.tvm.profile import peak
from planish.backends.tvm.tuning import tune

pytestmark = pytest.mark.usefixtures("code_as_it_is")

TVM = ("--backend", "tvm", "--threads", 1)


@pytest.fixture(autouse=True, scope="module")
def _brief_peak():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peak, "_SECONDS", 0.02)
        yield


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANISH_CACHE", str(tmp_path / "cache.sqlite"))
    return tmp_path / "cache.sqlite"


def test_compile_and_tune_then_bench_what_was_compiled(call, model, out, cache):
    code, shown, _ = call("compile", model, "-o", out, *TVM, "--tune-trials", 2)
    assert code == 0
    assert "verified" in shown
    with sqlite3.connect(cache) as file:
        assert file.execute("SELECT DISTINCT trials FROM measurements").fetchall() == [(2,)]
    file.close()
    arguments = ["--compiled", "--rounds", 3, "--warmup", 0, "--json", "--batch", 1, "--batch", 4]
    code, shown, _ = call("bench", out, *TVM, *arguments)
    assert code == 0
    assert [timing["batch"] for timing in json.loads(shown)["timings"]] == [1, 4]


def test_bench_needs_no_word_of_what_compiled_a_file(call, model, out):
    assert call("compile", model, "-o", out, *TVM)[0] == 0
    code, shown, _ = call("bench", out, model, "--rounds", 3, "--warmup", 0, "--json")
    assert code == 0
    assert [timing["label"] for timing in json.loads(shown)["timings"]] == [str(out), str(model)]
    assert_refused(call("bench", out, "--backend", "onnxruntime"), "compiled by backend 'tvm'")


def test_an_interrupted_search_leaves_no_file_but_what_it_measured(
    call, model, out, cache, monkeypatch
):
    class Interrupted:
        trouble = ""

        def measure(self, *_):
            raise KeyboardInterrupt

        def close(self):
            pass

    monkeypatch.setattr(tune, "_measurer", lambda *_: Interrupted())
    code, _, err = call("compile", model, "-o", out, *TVM, "--tune-trials", 2)
    assert code == 130
    assert "interrupted" in err
    assert os.listdir(out.parent) == []


def test_layers_are_shown(call, model):
    code, shown, _ = call("bench", model, *TVM, "--per-layer", "--rounds", 2)
    assert code == 0
    assert "of peak" in shown
    assert "convolution_0" in shown
    assert "FLOP/s" in shown
    assert "peak of the machine, measured" in shown


@pytest.mark.parametrize("backend", ["tvm", "onnxruntime"])
def test_layers_as_json(call, model, backend):
    arguments = ["--backend", backend, "--threads", 1, "--batch", 2, "--rounds", 2]
    code, shown, _ = call("bench", model, *arguments, "--per-layer", "--json")
    assert code == 0
    (found,) = json.loads(shown)["models"]
    assert found["batch"] == 2
    assert found["peaks"]["float32"] > 0
    shares = [layer["share"] for layer in found["layers"]]
    assert sum(shares) <= 1.000001
    assert any(layer["nodes"] and layer["ms"] > 0 for layer in found["layers"])


def test_winograd_can_be_switched_off(call, tmp_path):
    weight = np.random.default_rng(0).standard_normal((64, 64, 3, 3)).astype(np.float32)
    text = """g (float[1, 64, 28, 28] x) => (float[1, 64, 28, 28] y) {
        y = Conv <pads = [1, 1, 1, 1]> (x, w)
    }"""
    model = tmp_path / "m.onnx"
    onnx.save(model_of(text, {"w": weight}), model)
    for name, switch in (("usual", []), ("direct", ["--no-winograd"]), ("on", ["--winograd"])):
        arguments = ["--no-check-kernels", "--no-verify", *switch]
        assert call("compile", model, "-o", tmp_path / name, *TVM, *arguments)[0] == 0
    options = {"backend": "tvm", "threads": 1, "check_kernels": False}
    lowered = planish.lower(planish.load(model), winograd=False, **options)
    lowered.save(tmp_path / "wanted")
    files = {name: (tmp_path / name).read_bytes() for name in ("usual", "direct", "on", "wanted")}
    assert files["direct"] == files["wanted"] != files["usual"] == files["on"]


def test_kernels_are_compared_unless_it_is_said(call, model, out, cache):
    code, shown, _ = call("compile", model, "-o", out, *TVM, "--no-check-kernels")
    assert code == 0
    assert "kernels: not compared one by one" in shown
    assert not os.path.exists(f"{cache}.checks")
    code, shown, _ = call("compile", model, "-o", out, *TVM)
    assert code == 0
    assert "compared one by one, all right" in shown
    assert os.path.exists(f"{cache}.checks")
    code, shown, _ = call("inspect", out)
    assert code == 0
    for line in ("compiled by TVM", "input x: float32", "verified: largest", "all right"):
        assert line in shown
    data = out.read_bytes()
    out.write_bytes(data[:-1])
    assert_refused(call("inspect", out), str(out), "damaged")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compile", "M", "-o", "O", "--no-winograd"], ["onnxruntime", "winograd"]),
        (["compile", "M", "-o", "O", "--no-check-kernels"], ["onnxruntime", "check_kernels"]),
        (["compile", "M", "-o", "O", "--tune-trials", 2], ["onnxruntime", "tune_trials"]),
        (["compile", "M", "-o", "O", *TVM, "--tune-cache", "c"], ["tune_cache", "tune_trials"]),
        (
            ["compile", "M", "-o", "O", *TVM, "--tune-trials", 1, "--tune-remote", "here"],
            ["'here'", "host:port/key"],
        ),
        (["bench", "M", *TVM, "--per-layer", "--scenario", "Offline"], ["--per-layer"]),
        (["bench", "M", *TVM, "--compiled"], ["model.onnx", "no network compiled"]),
    ],
)
def test_what_cannot_be_is_refused(call, model, out, arguments, words):
    places = {"M": model, "O": out}
    assert_refused(call(*(places.get(argument, argument) for argument in arguments)), *words)
    assert not out.exists()


def test_a_compiled_network_shows_no_layers(call, model, out):
    assert call("compile", model, "-o", out, *TVM)[0] == 0
    assert_refused(call("bench", out, *TVM, "--compiled", "--per-layer"), str(out), "lower")
