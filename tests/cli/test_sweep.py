"""`planish sweep`: a row for each model, pipeline and backend, also for what fails."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import planish
from planish.cli import executor
from planish.tools.trials import clock

from tests.cli.common import assert_refused
from tests.cli.test_json import documented, keys
from tests.helpers import conv_batchnorm
from tests.tools.in_process import InProcess, briefly

pyarrow = pytest.importorskip("pyarrow", reason="rows are written by pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return a command over two models, whose tasks run in this process, and its executors."""
    made = []

    def make(count):
        made.append(InProcess())
        return made[-1]

    monkeypatch.setattr(executor, "LocalProcesses", make)
    monkeypatch.setattr(clock, "bench", briefly)
    monkeypatch.chdir(tmp_path)
    for name, width in (("a", 8), ("b", 4)):
        (tmp_path / f"{name}.onnx").write_bytes(conv_batchnorm(width).SerializeToString())
    return ["sweep", "a.onnx", "b.onnx", "-o", "table.parquet", "--threads", 1], made


def test_a_row_each_with_types_and_reasons(call, files, tmp_path):
    words, made = files
    backends = ("-b", "onnxruntime", "-b", "onnxruntime{spinning=false}")
    many = ("-p", "exact", "-p", "prune{only=[nowhere]}", *backends)
    code, shown, _ = call(*words, *many, "--json")
    assert code == 0
    told = json.loads(shown)
    assert set(keys(told)) <= documented("sweep")
    table = parquet.read_table(tmp_path / "table.parquet")
    assert {**table.to_pydict(), "sqnr_db": 0} == {**told["rows"], "sqnr_db": 0}  # inf is a text
    assert str(table.schema.field("drop").type) == "double"
    rows = table.to_pylist()
    assert len(rows) == 8
    for row in rows:
        if row["pipeline"] == "exact":
            assert row["error"] is None
            assert row["sqnr_db"] > 80
            assert row["speedup"] > 0
            assert row["bytes"] < row["baseline_bytes"]
        else:
            assert "only names the node 'nowhere'" in row["error"]
            assert row["seconds"] is None
    done = made[0].count
    assert call(*words, *many, "-p", "cleanup")[0] == 0
    assert done == 2 * (2 + 1 + 2)
    assert made[1].count == 2 * (1 + 1 + 2) + 2  # what is new, and what failed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-p", "exakt"], ["unknown pass 'exakt'"]),
        (["--seconds", "soon"], ["--seconds is 'soon'"]),
        (["--ray", "local", "--jobs", "2"], ["--jobs changes nothing"]),
    ],
)
def test_refused(call, files, options, words):
    assert_refused(call(*files[0], *options), *words)


def test_a_users_metric_that_fails_on_the_model_itself_is_no_row(call, files, tmp_path):
    (tmp_path / "judge.py").write_text("def evaluate(compiled, feeds): raise ValueError('boom')\n")
    assert_refused(call(*files[0], "--metric", "judge.py:evaluate"), "judge.py:evaluate", "boom")
    assert files[1][0].count == 1
    assert not (tmp_path / "table.parquet").exists()


def test_models_of_one_name_are_refused(call, files, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a.onnx").write_bytes((tmp_path / "a.onnx").read_bytes())
    assert_refused(call(*files[0], "c/a.onnx"), "same file name")


def test_a_model_that_the_feeds_do_not_fit_is_a_row(call, files, tmp_path):
    text = """<ir_version: 10, opset_import: ["" : 20]>
    g (float[1, 3] x) => (float[1, 3] y) { y = Relu(x) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "odd.onnx")
    np.save(tmp_path / "x.npy", np.zeros((2, 3), np.float32))
    words = ("sweep", "a.onnx", "odd.onnx", "-o", "table.parquet", "--feeds", "x.npy")
    code, _, err = call(*words)
    assert code == 0, err
    refused, fits = parquet.read_table(tmp_path / "table.parquet").to_pylist()
    assert refused["error"].startswith("a.onnx: ")
    assert "shape" in refused["error"]
    assert (fits["model"], fits["error"]) == ("odd.onnx", None)
    assert_refused(call("sweep", "a.onnx", *words[3:]), "a.onnx: ", "shape")


def test_a_file_that_is_no_model_is_a_row(call, files, tmp_path):
    (tmp_path / "b.onnx").write_bytes(b"no model")
    words = [*files[0], "nowhere.onnx", "-p", "exact"]
    code, _, err = call(*words)
    assert code == 0, err
    rows = parquet.read_table(tmp_path / "table.parquet").to_pylist()
    fine, broken, missing = (row["error"] for row in rows)
    assert fine is None
    assert "'b.onnx' is not an ONNX model" in broken
    assert "nowhere.onnx" in missing
    assert not (tmp_path / "table.sweep" / "b").exists()
    assert_refused(
        call("sweep", "b.onnx", *words[5:7], "-o", "new.parquet"), "is not an ONNX model"
    )
    assert not (tmp_path / "new.parquet").exists()


def test_what_is_no_sweeps_file_is_not_replaced(call, files, tmp_path):
    words, made = files
    table = tmp_path / "table.parquet"
    parquet.write_table(pyarrow.table({"price": [1.0], "model": ["T"]}), table)
    before = table.read_bytes()
    assert_refused(call(*words), "has no rows of a sweep", "price, model", "name another file")
    assert table.read_bytes() == before
    assert_refused(call(*words[:3], "-o", "a.onnx"), "'a.onnx' is there and is no Parquet file")
    assert planish.load("a.onnx").nodes
    assert not made
    columns = {name: ["a"] for name in ("model", "pipeline", "backend")}
    parquet.write_table(pyarrow.table(columns), table)  # of a version before
    for _ in range(2):
        assert call(*words)[0] == 0
