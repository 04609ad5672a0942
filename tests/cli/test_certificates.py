"""`planish optimize --prove` and `planish check-certificate`."""

from __future__ import annotations

import json

import onnx


def _proved(call, model, out, *options):
    code, shown, _ = call("optimize", model, "-o", out, "--prove", *options)
    assert code == 0
    return shown


def test_a_certificate_is_written_and_holds(call, model, out):
    shown = _proved(call, model, out, "-v")
    assert "proved 1 of 1 edit: 1 up to the rounding of folded constants" in shown
    file = out.with_name("out.onnx.certificate.json")
    assert str(file) in shown
    assert sorted(p.name for p in out.parent.iterdir()) == [out.name, file.name]
    code, shown, _ = call("check-certificate", model, out, file)
    assert code == 0
    assert "the certificate holds: 1 window shown: 1 up to" in shown


def test_json_says_what_is_proved(call, model, out):
    found = json.loads(_proved(call, model, out, "--json"))["models"][0]["certificate"]
    assert (found["proved"], found["edits"], found["open_outputs"]) == (1, 1, [])
    code, shown, _ = call("check-certificate", model, out, found["file"], "--json")
    assert code == 0
    checked = json.loads(shown)
    assert checked.pop("shown").startswith("1 window shown: 1 up to the rounding")
    assert checked == {
        "holds": True,
        "complete": True,
        "refused": "",
        "open_outputs": [],
        "verdict": found["verdict"],
    }


def test_what_is_left_unproved_has_a_code(call, tmp_path):
    """And is refused by --strict, with what to do."""
    model, out = tmp_path / "model.onnx", tmp_path / "out.onnx"
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[N,M] x) => (float[N] y)
        <int64[1] a = {1}, float o = {1}> { m = Mul(x, o) y = ReduceSum<keepdims=0>(m, a) }"""
    onnx.save(onnx.parser.parse_model(text), model)
    assert "proved 0 of 1 edit; 1 not proved, at the sizes tried alone" in _proved(call, model, out)
    code, shown, _ = call("check-certificate", model, out, f"{out}.certificate.json")
    assert code == 3
    assert "the certificate holds" in shown
    code, _, err = call("optimize", model, "-o", out, "--prove", "--strict")
    assert code == 3
    assert "--input-shape" in err


def test_another_model_is_refused(call, model, out):
    _proved(call, model, out)
    file = out.with_name("out.onnx.certificate.json")
    changed = onnx.load(out)
    changed.graph.node[0].attribute[0].Clear()
    del changed.graph.node[0].attribute[0]
    onnx.save(changed, out)
    code, _, err = call("check-certificate", model, out, file)
    assert code == 1
    assert "the model after is not the one" in " ".join(err.split())
    code, _, err = call("check-certificate", model, out, model)
    assert code == 2
    assert "is no certificate" in " ".join(err.split())


def test_an_approximate_pipeline_is_refused(call, model, out):
    code, _, err = call("optimize", model, "-o", out, "--prove", "-p", "int8")
    assert code == 2
    assert "nothing can be proved across" in " ".join(err.split())
    assert not out.exists()
