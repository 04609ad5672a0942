"""`planish search` as a user calls it: found, out of reach, ended and gone on with, refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import planish
from planish.cli import executor
from planish.tools.search.builder import PointBuilder
from planish.tools.tasks import journal
from planish.tools.trials import clock

from tests.cli.common import assert_refused
from tests.cli.test_json import documented, keys
from tests.helpers import model_using
from tests.tools.in_process import InProcess, briefly

pytest.importorskip("scipy", reason="the integer programme is SciPy's")
RNG = np.random.default_rng(0)


@pytest.fixture
def files(tmp_path, monkeypatch, brief_bench):
    """Return a small network and its samples; tasks run in this process, and measure briefly."""
    monkeypatch.setattr(executor, "LocalProcesses", lambda count: InProcess())
    monkeypatch.setattr(clock, "bench", briefly)
    monkeypatch.chdir(tmp_path)
    weights = {
        name: (RNG.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for name, shape in (("u", (16, 3, 3, 3)), ("v", (16, 16, 3, 3)), ("w", (4, 16)))
    }
    body = """a = Conv <pads=[1,1,1,1]> (x, u) b = Relu(a)
        c = Conv <pads=[1,1,1,1]> (b, v) d = Relu(c)
        p = GlobalAveragePool(d) f = Flatten(p) y = Gemm <transB=1> (f, w)"""
    model = model_using(weights, body, "float[1, 3, 8, 8] x")
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    np.savez(tmp_path / "feeds.npz", x=RNG.standard_normal((12, 3, 8, 8)).astype(np.float32))
    return ["search", "model.onnx", "-o", "small.onnx", "--feeds", "feeds.npz", "--threads", 1]


@pytest.mark.parametrize("backend", ["onnxruntime", "auto"])
def test_a_model_that_no_pipeline_takes(call, files, monkeypatch, backend):
    def fail(self, stages):
        self.failed.append((stages[0], "no room"))

    monkeypatch.setattr(PointBuilder, "made", fail)
    words = (*files, "--max-size", "1kB", "--backend", backend)
    assert_refused(call(*words), "no pipeline runs", "'exact': no room")


def test_the_same_again_from_the_journal_and_from_the_pipeline(call, files, tmp_path):
    code, shown, _ = call(*files, "--max-drop", "50%", "--speedup", "0.1x", "--json")
    told = json.loads(shown)
    assert code == 0
    plain = {**told, "sites": None, "versions": None}  # else keys are names
    plain["points"] = [{**point, "sites": None} for point in told["points"]]
    assert set(keys(plain)) - documented("search") - documented("compare") == set()
    best = told["points"][told["best"]]
    assert told["misses"] == {} == best["misses"]
    found = (tmp_path / "small.onnx").read_bytes()
    assert len(found) == best["bytes"]
    assert json.loads((tmp_path / "small.search" / "front.json").read_text()) == told
    (tmp_path / "small.onnx").unlink()
    _, shown, _ = call(*files, "--max-drop", "50%", "--speedup", "0.1x", "--json")
    assert json.loads(shown)["points"] == told["points"]
    assert (tmp_path / "small.onnx").read_bytes() == found
    front = tmp_path / "small.search" / "front.json"
    asked = ("search", "model.onnx", "-o", "again.onnx", "--replay", front, "--point", 1)
    assert call(*asked)[0] == 0
    known = Path(told["points"][1]["model"]).read_bytes()
    assert (tmp_path / "again.onnx").read_bytes() == known
    code, _, words = call(*asked, "--feeds", "feeds.npz")
    assert (code, words) == (0, "")
    np.savez(tmp_path / "feeds.npz", x=RNG.standard_normal((12, 3, 8, 8)).astype(np.float32))
    code, _, words = call(*asked, "--feeds", "feeds.npz")
    assert code == 3
    assert "the samples are others than the search had" in words


@pytest.mark.slow  # a whole search; tests/tools/search/test_plan.py has the pipeline of one plan
def test_pipelines_of_the_front_are_what_optimize_runs(call, files, tmp_path):
    code, shown, err = call(*files, "--max-drop", "90%", "--speedup", "50x", "--json")
    assert code == 3, err
    points = json.loads(shown)["points"]
    staged = [point for point in points if len(point["stages"]) == 2]
    assert staged
    for point in (points[1], staged[0], staged[-1]):
        asked = ("-p", point["pipeline"], "--feeds", "feeds.npz", "--verify", "off")
        assert call("optimize", "model.onnx", "-o", "again.onnx", *asked)[0] == 0
        one, other = (planish.load(path) for path in (point["model"], "again.onnx"))
        assert [(n.op, n.outputs[0].shape) for n in one.nodes] == [
            (n.op, n.outputs[0].shape) for n in other.nodes
        ]


def test_a_search_that_is_ended_goes_on_to_the_same_bytes(call, files, tmp_path, monkeypatch):
    asked = (*files, "--max-drop", "1%", "--speedup", "50x")
    times = {}  # of both calls: a network that is measured once more takes what it took
    monkeypatch.setattr(executor, "LocalProcesses", lambda count: InProcess(clock=times))
    code, _, told = call(*asked)
    assert code == 3
    for words in ("speedup", "50x asked", "within max-drop"):
        assert words in told
    folder = tmp_path / "small.search"
    whole = json.loads((folder / "front.json").read_text())
    # As a kill leaves it: the journal ends somewhere, in the middle of a line.
    lines = (folder / "journal.jsonl").read_bytes()
    (folder / "journal.jsonl").write_bytes(lines[: len(lines) // 2])
    counting = InProcess(clock=times)
    monkeypatch.setattr(executor, "LocalProcesses", lambda count: counting)
    assert call(*asked)[0] == 3
    assert 0 < counting.count < len(lines.splitlines())
    again = json.loads((folder / "front.json").read_text())
    for point in (*whole["points"], *again["points"]):
        point.pop("spent")  # seconds of the search itself
    assert again == whole


def test_ctrl_c_keeps_the_best_so_far(call, files, tmp_path, monkeypatch):
    monkeypatch.setattr(executor, "LocalProcesses", lambda count: InProcess(most=1))
    code, _, told = call(*files, "--max-drop", "1%")
    assert code == 130
    assert "no network is kept yet; 'small.search' has what was done: the same command" in told
    monkeypatch.setattr(executor, "LocalProcesses", lambda count: InProcess(most=5))
    code, _, told = call(*files, "--max-drop", "1%")
    assert code == 130
    assert "the best so far is 'small.onnx'" in told
    assert "the same command goes on from here" in told
    assert planish.load(tmp_path / "small.onnx").nodes


def test_time_that_is_up_within_the_survey_ends_it(call, files, tmp_path, monkeypatch):
    counting = InProcess()
    monkeypatch.setattr(executor, "LocalProcesses", lambda count: counting)
    monkeypatch.setattr(journal, "time", SimpleNamespace(monotonic=lambda: float(counting.count)))
    surveyed = []
    for seconds in (7, 20, 30):
        asked = ("--max-drop", "90%", "--speedup", "50x", "--time", f"{seconds}s")
        code, shown, err = call(*files, *asked, "--json")
        assert code == 3, err
        told = json.loads(shown)
        assert told["left_out"]
        assert counting.count <= seconds  # each takes a second, and what was done is there
        surveyed.append(told["sites"] is not None)
    assert surveyed == [False, False, True]  # what was surveyed serves
    assert len(told["sites"]["layers"]) == 3
    assert f"time was up before {len(told['left_out'])} steps" in call(*files, *asked)[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["nothing bounds the search", "--max-drop 1%"]),
        (["--speedup", "fast"], ["--speedup is 'fast'", "`3x`"]),
        (["--speedup", "0"], ["speedup is 0.0"]),
        (["--size", "4XB", "--max-drop", "1%"], ["--size scales images"]),
        (["--max-size", "4XB"], ["--max-size is '4XB'", "`4MB`"]),
        (["--speedup", "2", "--time", "0s"], ["time is 0 seconds", "20min"]),
        (["--speedup", "2", "--time", "soon"], ["--time is 'soon'", "`20min`"]),
        (["--max-drop", "150%"], ["max-drop is 1.5"]),
        (["--max-drop", "1%", "--labels", "l"], ["l"]),
    ],
)
def test_refused(call, files, options, words, tmp_path):
    assert_refused(call(*files, *options), *words)
    assert not (tmp_path / "small.onnx").exists()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("missing", ["has no function 'missing'", "evaluate"]),
        ("evaluate", ["metric", "boom"]),
        ("nan", ["return a number"]),
        ("text", ["metric"]),
    ],
)
def test_a_users_metric_that_cannot_judge_is_refused_at_once(
    call, files, tmp_path, monkeypatch, function, words
):
    counting = InProcess()
    monkeypatch.setattr(executor, "LocalProcesses", lambda count: counting)
    (tmp_path / "judge.py").write_text(
        "def evaluate(compiled, feeds): raise ValueError('boom')\n"
        "def nan(compiled, feeds): return float('nan')\n"
        "def text(compiled, feeds): return 'good'\n"
    )
    asked = (*files, "--max-drop", "1%", "--metric", f"judge.py:{function}")
    assert_refused(call(*asked), *words)
    assert counting.count == (function != "missing")
    assert (tmp_path / "small.search").exists() == (function != "missing")


def test_without_samples_there_is_nothing_to_learn_from(call, files):
    at = files.index("--feeds")
    words = [*files[:at], *files[at + 2 :], "--speedup", "2"]
    assert_refused(call(*words), "learns from real samples", "--feeds")


def test_size_in_bytes_is_a_bound(call, files, tmp_path):
    code, shown, _ = call(*files, "--size", "9kB", "--max-drop", "90%", "--time", "1e-3s", "--json")
    assert json.loads(shown)["budget"]["size"] == 9000
    assert code == (3 if json.loads(shown)["misses"] else 0)


def test_a_users_metric_is_asked_again_when_its_file_changes(call, files, tmp_path, monkeypatch):
    judge = tmp_path / "judge.py"
    files += ["--metric", "judge.py:evaluate", "--time", "1e-3s"]
    asked = (*files, "--max-drop", "1%", "--json")
    drops = []
    for value in (0.25, 0.125):  # of another size: bytecode is kept by size and second
        judge.write_text(
            "seen = []\n"
            "def evaluate(compiled, feeds):\n"
            "    seen.append([compiled(feed) for feed in feeds])\n"
            f"    return 1.0 if len(seen) == 1 else {value}\n"
        )
        _, shown, err = call(*asked)
        assert shown, err
        told = json.loads(shown)
        drops.append(max(point["drop"] for point in told["points"]))
    assert drops == [0.75, 0.875]
