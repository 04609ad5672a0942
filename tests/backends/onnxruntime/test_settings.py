"""Session options: as options of the backend, in saved sessions, and as code."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import planish
from planish.ir.core.errors import BackendError

from tests.helpers import conv_batchnorm

TEXT = "onnxruntime{spinning=false,disabled-optimizers=[NchwcTransformer],pointwise-batch=64}"
ENTRIES = {
    "session.intra_op.allow_spinning": "0",
    "session.force_spinning_stop": "1",
    "mlas.nchwc_pointwise_conv_max_input_channel_batch": "64",
    "optimization.disable_specified_optimizers": "NchwcTransformer",
}


@pytest.fixture
def entries(monkeypatch):
    """The configuration entries of the last session options that were made."""
    found = {}

    class Options(ort.SessionOptions):
        def __init__(self):
            super().__init__()
            found.clear()

        def add_session_config_entry(self, key, value):
            found[key] = value
            super().add_session_config_entry(key, value)

    monkeypatch.setattr(ort, "SessionOptions", Options)
    return found


def test_they_reach_the_session_the_saved_model_and_the_code(entries, tmp_path):
    model = conv_batchnorm()
    graph = planish.load(model)
    x = planish.random_feeds(graph, seed=1)[0]
    compiled = planish.lower(graph, TEXT, threads=1)
    assert entries == ENTRIES
    expected = compiled(x)
    compiled.save(tmp_path / "saved.onnx")
    entries.clear()
    loaded = planish.load_compiled(tmp_path / "saved.onnx", threads=1)
    assert entries == ENTRIES
    onnx.save(model, tmp_path / "model.onnx")
    made = {}
    code = compiled.recipe().replace("model.onnx", str(tmp_path / "model.onnx"))
    exec(code, made)
    assert entries == ENTRIES
    for name, array in expected.items():
        np.testing.assert_array_equal(loaded(x)[name], array)
        np.testing.assert_array_equal(made["session"].run([name], x)[0], array)


def test_settings_that_cannot_be_read_are_an_error(tmp_path):
    compiled = planish.lower(planish.load(conv_batchnorm()), TEXT)
    compiled.save(tmp_path / "saved.onnx")
    saved = onnx.load(tmp_path / "saved.onnx")
    (entry,) = (each for each in saved.metadata_props if each.key == "planish.session")
    for text in ('{"spinning": 3}', "[", '{"other": 1}'):
        entry.value = text
        onnx.save(saved, tmp_path / "saved.onnx")
        with pytest.raises(BackendError, match=r"settings of a session .* lower the model again"):
            planish.load_compiled(tmp_path / "saved.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spining": False}, r"'spining' \(did you mean 'spinning'"),
        ({"spinning": 0}, "spinning is 0; give true or false"),
        ({"pointwise_batch": -1}, "pointwise_batch is -1"),
        ({"disabled_optimizers": ["a;b"]}, "give their names"),
        ({"optimization": "al"}, "did you mean 'all'"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(BackendError, match=message):
        planish.lower(planish.load(conv_batchnorm()), **options)
