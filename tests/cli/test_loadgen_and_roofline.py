"""`bench --scenario` and the roofline of `inspect`, as a person calls them."""

import json
import sys

import numpy as np
import onnx
import pytest

from tests.cli.common import X, assert_refused
from tests.helpers import conv_batchnorm

FAST = ("--seconds", 0.05, "--min-queries", 64, "--threads", 1)


@pytest.fixture
def fixed(tmp_path):
    """Return a model whose batch is fixed at 4."""
    made = conv_batchnorm(8)
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    path = tmp_path / "fixed.onnx"
    onnx.save(made, path)
    return path


def test_single_stream(call, model):
    code, shown, err = call("bench", model, "--scenario", "SingleStream", *FAST)
    assert (code, err) == (0, "")
    head, row = shown.splitlines()
    assert "p90" in head
    assert "SingleStream" in row
    assert "VALID" in row
    assert row.split()[-2].replace(".", "").isdigit()


def test_offline_of_several_batches_as_json(call, model, tmp_path):
    np.savez(tmp_path / "f.npz", x=X)
    logs = tmp_path / "logs"
    arguments = ("--batch", 1, "--batch", 3, "--feeds", tmp_path / "f.npz", "--log-dir", logs)
    code, shown, _ = call("bench", model, "--scenario", "Offline", "--json", *arguments, *FAST)
    assert code == 0
    found = json.loads(shown)["loadgen"]
    assert [row["batch"] for row in found] == [1, 3]
    assert all(row["scenario"] == "Offline" and row["samples_per_second"] > 0 for row in found)
    assert sorted(p.name for p in logs.iterdir()) == ["1", "2"]
    assert all((logs / name / "mlperf_log_summary.txt").stat().st_size for name in "12")


def test_a_fixed_batch_runs_offline_only(call, fixed):
    code, shown, _ = call("bench", fixed, "--scenario", "Offline", "--json", *FAST)
    assert code == 0
    assert json.loads(shown)["loadgen"][0]["batch"] == 4
    assert_refused(
        call("bench", fixed, "--scenario", "SingleStream", *FAST), "the batch is 4", "Offline"
    )


@pytest.mark.parametrize(
    "option", [("--seconds", 1), ("--min-queries", 5), ("--log-dir", "x"), ("--feeds", "f.npz")]
)
def test_options_of_loadgen_need_a_scenario(call, model, option):
    assert_refused(call("bench", model, *option), option[0], "--scenario")


def test_loadgen_missing(call, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    assert_refused(call("bench", model, "--scenario", "Offline"), "pip install 'planish[mlperf]'")
    assert call("bench", model, "--rounds", 3)[0] == 0


def test_roofline_of_given_figures(call, model):
    figures = ("--peak-gflops", 100, "--bandwidth-gbs", 10)
    code, shown, _ = call("inspect", model, "--json", *figures)
    assert code == 0
    found = json.loads(shown)
    times = found["roofline"]
    assert times["machine"] == {"peak": 1e11, "bandwidth": 1e10}
    for node, time in zip(found["nodes"], times["nodes"], strict=True):
        expected = max(2 * node["macs"] / 1e11, node["bytes_moved"] / 1e10)
        assert time["seconds"] == pytest.approx(expected)
    assert times["seconds"] == pytest.approx(sum(n["seconds"] for n in times["nodes"]))
    code, shown, _ = call("inspect", model, *figures)
    assert "machine: 100 GFLOP/s (given), 10 GB/s (given)" in shown
    row = next(line for line in shown.splitlines() if "BatchNormalization -> " in line)
    assert row.split()[-1] == "memory"


def test_roofline_is_measured_and_sorted(call, model):
    code, shown, _ = call("inspect", model, "--bandwidth-gbs", 1e6, "--top", 1)
    assert code == 0
    assert "(measured)" in shown
    assert "(given)" in shown
    assert "Conv -> " in shown  # only bytes count for the other, and those are nearly free
    assert "BatchNormalization -> " not in shown
    assert "... 1 more" in shown
    code, shown, _ = call("inspect", model, "--peak-gflops", 1e6, "--bandwidth-gbs", 1, "--top", 1)
    assert "BatchNormalization -> " in shown


@pytest.mark.parametrize("option", ["--peak-gflops", "--bandwidth-gbs"])
def test_figures_that_no_machine_has(call, model, option):
    code, shown, err = call("inspect", model, option, 0)
    assert (code, shown) == (2, "")
    assert option in err
