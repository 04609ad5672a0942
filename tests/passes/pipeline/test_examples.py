"""How the file of an example is read."""

import numpy as np
import pytest

from planish.ir.core.errors import LoadError
from planish.passes.pipeline import examples
from planish.passes.pipeline.examples import read_example

TEXT = """Look
here.

--- before
g (float[N, 2] x, int64[N] i) => (float[N, 2] y)
{
   y = Relu (x)
}
--- pipeline
own
--- feeds
{"x": [[1, 2]], "i": [3]}
{"x": [[4, 5], [6, 7]], "i": [8, 9]}
--- file other.onnx
h (float[N] x) => (float[N] y)
{
   y = Neg (x)
}
--- after
nothing
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(examples.resources, "files", lambda _: tmp_path)
    return tmp_path


def test_every_section_is_read(folder):
    (folder / "own.txt").write_text(TEXT)
    found = read_example("own")
    assert found.caption == "Look here."
    assert found.pipeline == "own"
    assert found.after == "nothing"
    assert found.model().graph.node[0].op_type == "Relu"
    assert found.models()["other.onnx"].graph.node[0].op_type == "Neg"
    first, second = found.batches()
    assert first["x"].dtype == np.float32
    assert first["i"].dtype == np.int64
    np.testing.assert_array_equal(second["x"], [[4, 5], [6, 7]])


def test_feeds_and_files_may_be_left_out(folder):
    start, end = TEXT.index("--- feeds"), TEXT.index("--- after")
    (folder / "own.txt").write_text(TEXT[:start] + TEXT[end:])
    found = read_example("own")
    assert found.batches() is None
    assert found.models() == {}


def test_a_missing_section_is_named(folder):
    (folder / "own.txt").write_text(TEXT[: TEXT.index("--- after")])
    with pytest.raises(LoadError, match=r"own\.txt has no section 'after'"):
        read_example("own")


def test_a_pass_without_example_has_none(folder):
    assert read_example("own") is None
