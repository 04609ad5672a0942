"""`planish report` and `--report`: what they write, and how they end."""

import json

import numpy as np
import onnx
import pytest

from planish.passes.analysis.roofline import Machine
from planish.tools.report import build

from tests.cli.common import assert_refused
from tests.helpers import model_of, run_ort


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Give the figures of the machine, which would be measured for a second."""
    monkeypatch.setattr(build, "measure_machine", lambda threads: Machine(1e11, 1e10))


def test_optimize_writes_a_report_beside_the_model(call, model, out):
    page = out.with_name("report.html")
    code, shown, err = call("optimize", model, "-o", out, "--report", page)
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith(f"{page}: ")
    assert "verified" in shown
    text = page.read_text(encoding="utf-8")
    assert "fold-batchnorm" in text
    assert "time on onnxruntime" in text
    assert sorted(path.name for path in out.parent.iterdir()) == ["out.onnx", "report.html"]


def test_the_document_of_a_report_becomes_the_same_page(call, model, out):
    document, page = out.with_name("r.json"), out.with_name("r.html")
    assert call("optimize", model, "-o", out, "--report", document, "-q")[0] == 0
    found = json.loads(document.read_text())
    assert found["schema"] == "planish-report/1"
    assert [link["kind"] for link in found["links"]] == ["fused"]
    assert found["links"][0]["passes"] == ["fold-batchnorm"]
    code, shown, _ = call("report", document, "-o", page)
    assert code == 0
    assert shown.startswith(f"{page}: ")
    code, shown, _ = call("report", document, "--json")
    assert json.loads(shown) == found


def test_a_report_of_what_json_told_of_a_run(call, model, out, tmp_path):
    shown = call("optimize", model, "-o", out, "--json")[1]
    (tmp_path / "run.json").write_text(shown)
    code, shown, _ = call("report", tmp_path / "run.json", "--json", "--no-times")
    assert code == 0
    found = json.loads(shown)
    assert (found["kind"], len(found["graphs"])) == ("run", 2)
    assert [p["name"] for p in found["run"]["passes"] if p["edits"]] == ["fold-batchnorm"]


def test_a_report_of_one_model(call, model):
    code, shown, _ = call("report", model, "--json", "--rounds", 1)
    assert code == 0
    found = json.loads(shown)
    assert [node["op"] for node in found["graphs"][0]["nodes"]] == ["Conv", "BatchNormalization"]
    times = next(m for m in found["measures"] if m["id"] == "time-onnxruntime")
    assert sum(t for t in times["values"] if t) + times["rest"] == pytest.approx(times["total"])


def test_labels_that_changed_are_told_with_their_pictures(call, tmp_path, out):
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((8 * 8 * 3, 4)).astype(np.float32)}
    made = model_of(
        "g (float[N, 3, 8, 8] x) => (float[N, 4] y) { f = Flatten(x) y = MatMul(f, w) }", weights
    )
    path, feeds = tmp_path / "m.onnx", tmp_path / "f.npz"
    path.write_bytes(made.SerializeToString())
    images = rng.standard_normal((24, 3, 8, 8)).astype(np.float32)
    np.savez(feeds, x=images)
    document = out.with_name("r.json")
    arguments = ["-p", "prune{amount=0.8}", "--feeds", feeds]
    code, _, _ = call("optimize", path, "-o", out, *arguments, "--report", document)
    assert code == 0
    kept = json.loads(document.read_text())["agreement"]
    a, b = (run_ort(onnx.load(p), {"x": images})["y"].argmax(1) for p in (path, out))
    assert [s["sample"] for s in kept["changed"]] == np.flatnonzero(a != b).tolist()
    assert kept["changed"]
    assert kept["same"] == (a == b).sum()
    assert all(s["picture"].startswith("data:image/png;base64,") for s in kept["changed"])
    first = kept["changed"][0]
    assert (first["before"], first["after"]) == (a[first["sample"]], b[first["sample"]])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is no JSON"),
        ("[]", "holds no result"),
        ("{}", "is no result of a run"),
        ('{"schema": "planish-report/0"}', "is no result of a run"),
        ('{"models": [{"passes": []}, {"passes": []}]}', "is of 2 models"),
        ('{"models": [{"passes": [], "output": null}]}', "wrote no model"),
        ('{"schema": "planish-report/1"}', "is no whole report"),
    ],
)
def test_what_is_no_result_is_refused(call, tmp_path, text, says):
    (tmp_path / "r.json").write_text(text)
    assert_refused(call("report", tmp_path / "r.json", "-o", tmp_path / "r.html"), says)
    assert not (tmp_path / "r.html").exists()


def test_what_cannot_be_written_is_refused_before_any_work(call, model, tmp_path):
    where = tmp_path / "no" / "r.html"
    assert_refused(call("report", model, "-o", where), "no/r.html")
    assert_refused(call("optimize", model, "--report", where), "no/r.html")
    assert_refused(
        call("optimize", model, model, "-o", tmp_path, "--report", tmp_path / "r.html"), "one"
    )
