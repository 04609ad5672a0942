"""What `bench` says beside times: the inputs it drew, a busy machine, operators of layers."""

from __future__ import annotations

import json
import time

import numpy as np
import onnx
import pytest

from planish.backends.timing import other_load
from planish.backends.timing.bench import Subject
from planish.backends.timing.other_load import OtherLoad
from planish.cli.bench.conditions import busy_warning, drawn_lines

from tests.helpers import model_of

QUICK = ("--rounds", 2, "--warmup", 0, "--threads", 1)


def test_bench_says_what_it_drew(call, model):
    code, shown, _ = call("bench", model, model, *QUICK)
    assert code == 0
    assert shown.splitlines()[-1] == "random inputs: x float32[2, 3, 9, 9]"
    assert drawn_lines([Subject("m", lambda feed: {}, {})]) == [
        "random inputs: none, it takes no inputs"
    ]
    _, shown, _ = call("bench", model, "--batch", 1, "--batch", 3, *QUICK)
    assert shown.splitlines()[-2:] == [
        f"{model}, batch {size}: random inputs: x float32[{size}, 3, 9, 9]" for size in (1, 3)
    ]
    _, shown, _ = call("bench", model, "--json", *QUICK)
    assert json.loads(shown)["inputs"] == [{"x": [2, 3, 9, 9]}]


def test_a_ratio_of_different_work_is_warned_of(call, model, tmp_path):
    other = tmp_path / "other.onnx"
    assert call("optimize", model, other, "--input-shape", "x=1,3,9,9")[0] == 0
    warned = "the ratio compares different work; give all of them one with --input-shape"
    assert warned in call("bench", model, other, *QUICK)[2]
    for same in (["--batch", 1], ["--input-shape", "x=1,3,9,9"]):
        assert warned not in call("bench", model, other, *same, *QUICK)[2]
    assert warned not in call("bench", model, "--batch", 1, "--batch", 3, *QUICK)[2]


@pytest.mark.parametrize("backend", ["onnxruntime", pytest.param("tvm", marks=pytest.mark.slow)])
def test_layers_have_operators_and_shapes(call, tmp_path, backend):
    if backend == "tvm":
        pytest.importorskip("tvm")
    made = model_of(
        # ONNX Runtime pads channels to blocks of 8 or 16.
        "g (float[n,3,9,9] x) => (float[n,16,7,7] y) { c = Conv(x, w) y = Relu(c) }",
        {"w": np.ones((16, 3, 3, 3), np.float32)},
    )
    for node in made.graph.node:
        node.name = f"my_{node.op_type}"
    onnx.save(made, tmp_path / "named.onnx")
    words = ("--per-layer", "--json", "--batch", 2, "--backend", backend, *QUICK)
    _, shown, _ = call("bench", tmp_path / "named.onnx", *words)
    layers = json.loads(shown)["models"][0]["layers"]
    (conv,) = (layer for layer in layers if "Conv" in " ".join(layer["operators"]))
    assert conv["shape"] == [2, 16, 7, 7]
    assert all(layer["operators"] for layer in layers)


@pytest.mark.slow
def test_layers_of_tvm_say_what_they_compute_whatever_passes_made_of_the_graph(call, tmp_path):
    """Kernels of planish's own, what TVM imports, what ONNX Runtime runs, and other layouts."""
    pytest.importorskip("tvm")
    made = model_of(
        """g (float[n,3,9,9] x) => (float[n,5] y, int64[k,m] z) {
            c = Conv(x, w) b = BatchNormalization(c, s, t, s, s) r = Relu(b)
            p = GlobalAveragePool(r) f = Flatten(p) e = Erf(f) y = MatMul(e, d)
            q = NonZero(f) z = Neg(q) }""",
        {
            "w": np.ones((8, 3, 3, 3), np.float32),
            "s": np.ones(8, np.float32),
            "t": np.zeros(8, np.float32),
            "d": np.ones((8, 5), np.float32),
        },
    )
    onnx.save(made, tmp_path / "unnamed.onnx")
    words = ("--per-layer", "--json", "--batch", 2, "--backend", "tvm", *QUICK)
    code, shown, err = call("bench", tmp_path / "unnamed.onnx", *words)
    assert code == 0, err
    layers = json.loads(shown)["models"][0]["layers"]
    assert all(layer["operators"] for layer in layers)
    by_operator = {op: layer for layer in layers for op in layer["operators"]}
    assert by_operator["Conv"]["shape"] == [2, 8, 7, 7]
    assert by_operator["Gemm" if "Gemm" in by_operator else "MatMul"]["shape"] == [2, 5]
    assert all(layer["nodes"] or layer["operators"] == ["another layout"] for layer in layers)


class Clock:
    """A machine of which others use 1.5 cores while this process uses half a one."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.seconds = 0.0, seconds
        monkeypatch.setattr(other_load.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(other_load, "_own_seconds", lambda: 0.5 * self.now)
        monkeypatch.setattr(other_load, "_busy_seconds", lambda: self.seconds(self.now))


def test_what_others_use_is_what_is_not_ours(monkeypatch):
    clock = Clock(monkeypatch, lambda now: 7 + 2.0 * now)
    load = OtherLoad()
    clock.now = 10.0
    assert load.cores() == pytest.approx(1.5)
    assert busy_warning(load).startswith("other programs kept 1.5 of ")


def test_an_idle_machine_is_not_warned_of(monkeypatch):
    clock = Clock(monkeypatch, lambda now: 0.6 * now)
    load = OtherLoad()
    clock.now = 10.0
    assert busy_warning(load) == ""


def test_the_machine_itself_is_asked():
    load = OtherLoad()
    time.sleep(0.05)
    cores = load.cores()
    assert cores is None or 0 <= cores < 10_000


def test_where_nothing_tells_nothing_is_said(monkeypatch):
    monkeypatch.setattr(other_load, "_busy_seconds", lambda: None)
    monkeypatch.delattr(other_load.os, "getloadavg", raising=False)
    assert busy_warning(OtherLoad()) == ""
