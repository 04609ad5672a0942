"""What a command writes takes the place of nothing that it reads, or writes itself."""

from __future__ import annotations

import pytest

from tests.cli.common import assert_refused

CHECK = "def shows(model):\n    return True\n"


@pytest.fixture
def files(tmp_path, monkeypatch, model):
    """Return a function for what is in the folder: a model, a link to it, code and feeds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(CHECK)
    (tmp_path / "feeds.npz").write_bytes(b"")
    (tmp_path / "link.onnx").symlink_to(model)
    return lambda: {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("reduce model.onnx --crash -p exact -o r.py", "r.py"),
        ("reduce model.onnx --crash -p exact -o model.onnx", "model.onnx"),
        ("reduce model.onnx --check own.py:shows -o own.onnx", "own.py"),
        ("reduce model.onnx --crash -p exact --plugin own.py -o own.onnx", "own.py"),
        ("doctor model.onnx -o r.py", "r.py"),
        ("doctor model.onnx -o link.onnx", "link.onnx"),
        ("search model.onnx -o s.search", "s.search"),
        ("search model.onnx -o model.onnx", "model.onnx"),
        ("sweep model.onnx -o s.sweep", "s.sweep"),
        ("report model.onnx -o ./model.onnx", "model.onnx"),
        ("optimize model.onnx -o o.onnx --report o.onnx", "o.onnx"),
        ("optimize model.onnx --report model.onnx", "model.onnx"),
        ("optimize model.onnx --feeds feeds.npz -o feeds.npz", "feeds.npz"),
        ("optimize model.onnx o.onnx --report o.onnx", "o.onnx"),
        ("compile model.onnx --feeds feeds.npz -o feeds.npz", "feeds.npz"),
        ("bench model.onnx --report model.onnx", "model.onnx"),
        ("diff model.onnx link.onnx --html link.onnx", "link.onnx"),
        ("diff model.onnx model.onnx --model-explorer model.onnx", "model.onnx"),
        ("explain-int8 model.onnx --report model.onnx", "model.onnx"),
    ],
)
def test_no_file_is_written_that_is_read_or_written_too(call, files, line, name):
    before = files()
    assert_refused(call(*line.split()), name, "name another file")
    assert files() == before


def test_a_model_may_be_replaced_where_its_user_says_so(call, files, model):
    before = model.read_bytes()
    assert call("optimize", "model.onnx", "-o", "model.onnx")[0] == 0
    assert model.read_bytes() != before
