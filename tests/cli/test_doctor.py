"""`planish doctor`: exit 0 where nothing is wrong, 1 with the culprit, 2 for bad input."""

from __future__ import annotations

import json

import numpy as np
import onnx

from tests.cli.common import X, assert_refused
from tests.helpers import conv_batchnorm


def test_nothing_is_wrong(call, model, tmp_path):
    np.savez(tmp_path / "feeds.npz", x=X)
    code, shown, err = call("doctor", model, "--feeds", tmp_path / "feeds.npz")
    assert (code, err) == (0, "")
    assert shown.splitlines()[-1] == "nothing is wrong"


def test_the_culprit_is_told(call, tmp_path):
    path = tmp_path / "m.onnx"
    model = conv_batchnorm(8)
    model.graph.initializer[0].raw_data = np.full(
        model.graph.initializer[0].dims, np.nan, np.float32
    ).tobytes()
    onnx.save(model, path)
    code, shown, _ = call("doctor", path)
    assert code == 1
    assert "culprit: the file: weight" in shown
    code, shown, _ = call("doctor", path, "--json")
    told = json.loads(shown)
    assert (code, told["findings"][0]["verdict"]) == (1, "wrong")


def test_what_cannot_be_looked_at_is_refused(call, model, tmp_path):
    assert_refused(call("doctor", tmp_path / "none.onnx"), "none.onnx")
    assert_refused(call("doctor", model, "--runtime", "onnxrutime"), "onnxruntime")
    assert_refused(call("doctor", model, "--runtime", "onnxruntime{threds=1}"), "threds")
    assert_refused(call("doctor", model, "-p", "int8"), "tolerance")
    assert_refused(call("doctor", model, "--faster", model, "-p", "exact"), "--pipeline")
    assert_refused(call("doctor", model, "--measure"), "--faster")


def test_nothing_lost(call, model):
    code, shown, _ = call("doctor", model, "--faster", model)
    assert (code, shown) == (0, "nothing that was fused is lost\n")
