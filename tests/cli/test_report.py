"""`planish report` and `--report`: what they write, and how they end."""

import base64
import json
import re
import sys
import zlib

import numpy as np
import onnx
import pytest

from planish.passes.analysis.roofline import Machine
from planish.tools.report import figures
from planish.tools.search.document import FORMAT
from planish.tools.search.front import Point, Stage

from tests.cli.common import X, assert_refused
from tests.helpers import model_of, run_ort


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Give the figures of the machine, which would be measured for a second."""
    monkeypatch.setattr(figures, "measure_machine", lambda threads: Machine(1e11, 1e10))


def test_optimize_writes_a_report_beside_the_model(call, model, out):
    page = out.with_name("report.html")
    code, shown, err = call("optimize", model, "-o", out, "--report", page)
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith(f"{page}: ")
    assert "verified" in shown
    text = page.read_text(encoding="utf-8")
    assert "fold-batchnorm" in text
    packed = re.search(r'<script id="document"[^>]*>([^<]*)<', text)[1]
    assert b"time on onnxruntime" in zlib.decompress(base64.b64decode(packed))
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


def test_a_search_has_its_front(call, model, out, tmp_path):
    call("optimize", model, "-o", out, "-q")
    points = [
        Point(
            stages=(Stage(text, None),),
            model=out,
            sha256="",
            seconds=0.002,
            speedup=2.5,
            bytes=900,
            drop=0.01,
            holds=True,
            accuracy={},
        ).to_json()
        for text in ("exact", "int8{per-channel=true}")
    ]
    found = {
        "format": FORMAT,
        "model": str(model),
        "output": str(out),
        "points": points,
        "front": [1, 0],
        "best": 1,
    }
    (tmp_path / "front.json").write_text(json.dumps(found))
    np.savez(tmp_path / "f.npz", x=X)
    line = ("report", tmp_path / "front.json", "--json", "--no-times", "--feeds")
    code, shown, _ = call(*line, tmp_path / "f.npz")
    assert code == 0
    report = json.loads(shown)
    assert (report["kind"], report["unknown"]) == ("search", [])
    first, second = report["front"]["points"]
    assert (first["pipeline"], first["chosen"]) == ("int8{per-channel=true}", True)
    assert (second["label"], second["chosen"]) == ("2: 2.50 times as fast", False)
    assert first["values"] == {"one run": 0.002, "lost": 0.01, "file": 900}


def test_diff_writes_a_page_and_node_data(call, model, out):
    call("optimize", model, "-o", out, "-q")
    page, data = out.with_name("d.html"), out.with_name("n.json")
    code, _, err = call("diff", model, out, "--html", page, "--model-explorer", data)
    assert (code, err.count("\n")) == (1, 1)
    assert "two models" in page.read_text(encoding="utf-8")
    (after,), (before,) = (
        json.loads(path.read_text()).values() for path in (data, out.with_name("n.before.json"))
    )
    assert {r["value"] for r in after["results"].values()} == {"fused"}
    assert len(before["results"]) == 2
    assert_refused(call("diff", model, out, "--html", out.parent / "no" / "d.html"), "no/d.html")


def test_bench_reports_one_model_or_two(call, model, out, brief_bench):
    document = out.with_name("b.json")
    code, _, _ = call("bench", model, model, "--rounds", 1, "--warmup", 0, "--report", document)
    assert code == 0
    found = json.loads(document.read_text())
    assert [m["graph"] for m in found["measures"] if m["id"] == "time-onnxruntime"] == [0, 1]
    assert [each["graph"] for each in found["latencies"]] == [0, 1]
    assert_refused(call("bench", model, model, model, "--report", document), "2 models at most")


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


def test_a_page_says_what_it_lacks_before_any_work_and_a_document_needs_nothing(
    call, model, out, monkeypatch
):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    page, document = out.with_name("r.html"), out.with_name("r.json")
    assert_refused(call("optimize", model, "-o", out, "--report", page), "planish[report]")
    assert not out.exists()
    assert call("report", model, "-o", document, "--no-times", "-q")[0] == 0
    assert json.loads(document.read_text())["kind"] == "model"
