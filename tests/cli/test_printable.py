"""Names of models stay names: a terminal obeys none of them, whatever shows them."""

import io

import numpy as np
import onnx
import pytest
from rich.progress import Progress
from rich.table import Table

from planish.cli.show.console import _Console

from tests.helpers import model_of

EVIL = "a\x1b[31m\x9b\x07\u202eb"


@pytest.fixture
def path(tmp_path):
    """Return a model in which everything that has a name has that one."""
    weights = {"w": np.ones((4, 3, 1, 1), np.float32)}
    model = model_of(
        "g (float[N, 3, 4, 4] x) => (float[N, 4, 4, 4] y) { a = Conv(x, w) y = Relu(a) }", weights
    )
    graph = model.graph
    for node in graph.node:
        node.name = EVIL + node.op_type
        node.input[:] = [EVIL + name for name in node.input]
        node.output[:] = [EVIL + name for name in node.output]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = EVIL + value.name
    graph.name = EVIL
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = EVIL
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.mark.parametrize(
    "line",
    [
        ("inspect", "{m}", "--peak-gflops", "1", "--bandwidth-gbs", "1"),
        ("inspect", "{m}", f"{EVIL}Conv"),
        ("inspect", "{m}", "--groups"),
        ("inspect", "{m}", "no\x1bnode"),
        ("optimize", "{m}", "--why", "-v", "--verify", "off"),
        ("diff", "{m}", "{m}"),
        ("compare", "{m}", "{m}"),
    ],
    ids=lambda line: " ".join(line[:1] + line[2:3]).encode("unicode_escape").decode(),
)
def test_no_command_hands_a_name_on_as_it_is(call, path, line):
    _, shown, err = call(*(part.format(m=path) for part in line))
    assert all(c.isprintable() or c == "\n" for c in shown + err)
    assert shown + err


def test_tables_and_progress_bars_of_any_kind_are_written_out():
    file = io.StringIO()
    console = _Console(file=file, width=200)
    table = Table(EVIL)
    table.add_row(EVIL)
    console.print(table)
    with Progress(console=console) as bar:
        bar.add_task(EVIL, total=1)
    assert all(c.isprintable() or c == "\n" for c in file.getvalue())
    assert file.getvalue().count("a\\x1b[") >= 3
