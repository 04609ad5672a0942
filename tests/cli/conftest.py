"""A model, a place for output, and the command run in this process."""

import sys

import pytest

from planish.cli.main import main

from tests.helpers import conv_batchnorm


@pytest.fixture
def call(monkeypatch, capsys):
    """Return a function that runs `main` in this process: exit code, stdout, stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["planish", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        shown = capsys.readouterr()
        return caught.value.code, shown.out, shown.err

    return call


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(conv_batchnorm(8).SerializeToString())
    return path


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "out.onnx"
