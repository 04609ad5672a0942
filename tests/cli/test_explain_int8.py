"""planish explain-int8: tables, JSON, --apply and refusals."""

import json

import numpy as np
import pytest

import planish

from tests.backends.onnxruntime.test_explain import FEEDS, network, quantized, with_scale
from tests.cli.common import assert_refused

pytestmark = pytest.mark.usefixtures("brief_bench")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the paths of a broken integer model, its float original and its feeds, to be read."""
    folder = tmp_path_factory.mktemp("models")
    paths = folder / "int8.onnx", folder / "float.onnx", folder / "feeds.npz"
    planish.save(with_scale(quantized(network()), "c1_scale", 1 / 20), paths[0])
    planish.save(network(), paths[1])
    np.savez(paths[2], x=np.concatenate([feed["x"] for feed in FEEDS]))
    return paths


def test_the_table_names_the_worst_layer_first(call, files):
    model, original, feeds = files
    code, shown, err = call("explain-int8", model, "--float", original, "--feeds", feeds)
    assert (code, err) == (0, "")
    told, *lines = shown.splitlines()
    assert f"of {feeds} -> x [" in told
    assert lines[0].split()[:3] == ["layer", "operator", "executed"]
    assert lines[1].split()[:3] == ["a", "Conv", "int8"]
    assert "back to float" in shown
    assert "the metric is top-1 agreement along axis 1 of output 'y'" in shown
    asked = ("--metric", "embedding")
    _, shown, _ = call("explain-int8", model, "--float", original, "--feeds", feeds, *asked)
    assert "the metric is cosine along axis 1 of output 'y'" in shown


def test_a_report_has_the_figures_of_each_layer(call, files, out):
    model, original, feeds = files
    document = out.with_name("r.json")
    line = ("explain-int8", model, "--float", original, "--feeds", feeds, "--json")
    code, shown, _ = call(*line, "--report", document)
    assert code == 0
    told = {layer["node"]: layer for layer in json.loads(shown)["layers"]}
    found = json.loads(document.read_text())
    names = [node["name"] for node in found["graphs"][1]["nodes"]]
    for key in ("local", "cumulative"):
        (values,) = [m["values"] for m in found["measures"] if m["id"] == key]
        assert values[names.index("a")] == pytest.approx(told["a"][key])
    (gains,) = [m["values"] for m in found["measures"] if m["id"] == "sensitivity"]
    assert gains[names.index("a")] > 0.5
    assert found["remarks"] == json.loads(shown)["remarks"]


def test_apply_writes_a_better_model(call, files, out):
    model, original, feeds = files
    code, shown, _ = call(
        "explain-int8", model, "--float", original, "--feeds", feeds, "--apply", "-o", out
    )
    assert code == 0
    assert str(out) in shown
    before, after = (
        planish.compare(network(), planish.load(path), FEEDS).sqnr_db for path in (model, out)
    )
    assert before < 15
    assert after > 25
    # Explained again, there is nothing left to do about those layers.
    code, shown, _ = call("explain-int8", out, "--float", original, "--feeds", feeds, "--json")
    again = json.loads(shown)
    assert not any({"a", "b"} <= set(found["nodes"]) for found in again["suggestions"])


def test_a_second_model_is_not_taken_for_the_file_to_write(call, files, out, tmp_path):
    model, original, feeds = files
    before, words = original.read_bytes(), ("--feeds", feeds, "--apply", "--threads", 1)
    refused = call("explain-int8", model, original, *words)
    assert_refused(refused, str(original), f"--float '{original}'", "-o OUT")
    assert original.read_bytes() == before
    (notes := tmp_path / "notes.txt").write_text("kept")
    assert_refused(call("explain-int8", model, notes, *words), str(notes), "-o OUT")
    out.write_bytes(b"")
    for _ in range(2):  # a name that `mktemp` made, and what was written there
        assert call("explain-int8", model, out, *words)[0] == 0
    assert planish.load(out).nodes


def test_json_has_one_stable_form(call, files):
    model, original, feeds = files
    code, shown, _ = call("explain-int8", model, "--float", original, "--feeds", feeds, "--json")
    assert code == 0
    found = json.loads(shown)
    assert set(found) == {
        "layers",
        "suggestions",
        "original",
        "before",
        "after",
        "float_made",
        "drawn_feeds",
        "unmatched",
        "foreign",
        "remarks",
        "runtime",
        "files",
    }
    assert [entry["node"] for entry in found["layers"]] == ["a", "b", "c", "p", "s", "l"]
    assert found["original"]["sqnr_db"] == "inf"


def test_without_original_and_feeds_it_says_what_is_unknown(call, files):
    code, shown, _ = call("explain-int8", files[0], "--top", "2")
    assert code == 0
    assert "no --float model was given" in shown
    assert "no --feeds were given" in shown
    assert "... 4 more" in shown


def test_a_float_model_is_refused(call, files):
    assert_refused(call("explain-int8", files[1]), str(files[1]), "no quantized layers")


def test_apply_and_output_belong_together(call, files, out):
    assert_refused(call("explain-int8", files[0], "--apply"), "add -o OUT")
    assert_refused(call("explain-int8", files[0], "-o", out), "add --apply")
    assert not out.exists()


def test_a_broken_file_is_refused(call, tmp_path):
    (tmp_path / "no.onnx").write_bytes(b"nonsense")
    assert_refused(call("explain-int8", tmp_path / "no.onnx"), "no.onnx")


def test_an_original_with_other_inputs_is_refused(call, files, tmp_path):
    model = network()
    model.inputs[0].name = "other"
    planish.save(model, tmp_path / "other.onnx")
    assert_refused(call("explain-int8", files[0], "--float", tmp_path / "other.onnx"), "'other'")
