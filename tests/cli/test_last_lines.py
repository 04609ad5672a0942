"""The last lines of `optimize`: nodes as they are in the file, costs, and what was left alone."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

from planish.cli.show.graph_size import GraphSize, size_line
from planish.ir.core.durations import duration, latency

from tests.helpers import model_of

WEIGHTS = {"w": np.ones((4, 3, 3, 3), np.float32), "b": np.ones(4, np.float32)}
TEXT = """
    g (float[1,3,8,8] x) => (float[1,4,3,3] y)
    { c = Conv(x, w, b) r = Relu(c) y = MaxPool<kernel_shape=[2,2],strides=[2,2]>(r) }
"""


@pytest.fixture
def path(tmp_path):
    onnx.save(model_of(TEXT, WEIGHTS), tmp_path / "fusable.onnx")
    return tmp_path / "fusable.onnx"


@pytest.mark.parametrize("option", ["--portable", "--no-portable"])
def test_nodes_are_those_of_the_file(call, path, out, option):
    _, shown, _ = call("optimize", path, "-o", out, option)
    (line,) = re.findall(r"^(?:\d+ -> )?(\d+) nodes?\b", shown, re.MULTILINE)
    assert int(line) == len(onnx.load(out).graph.node)
    assert ("before fused operators were inlined" in shown) == (option == "--portable")
    macs = 4 * 6 * 6 * 3 * 9
    assert f", {macs / 1000:.3g} k MACs, 112 parameters" in shown


def test_what_is_known_in_part_is_a_least():
    before, after = GraphSize({"A": 3}, 1000, 5, 2), GraphSize({"A": 2}, 4000, 6)
    assert size_line(before, after, 2) == "3 -> 2 nodes, over 1 k -> 4 k MACs, 5 -> 6 parameters"
    assert size_line(GraphSize({"A": 3}, None, None), after, 2) == "3 -> 2 nodes"
    alone = GraphSize({"A": 1}, 1, 0)
    assert size_line(alone, alone, 1) == "1 node, 1 MAC, 0 parameters"
    assert size_line(before, alone, 1).startswith("3 -> 1 nodes, ")


def test_sites_left_alone_are_counted_until_they_are_shown(call, path, tmp_path):
    text = """
        g (float[1,3,8,8] x) => (float[1,4,6,6] y)
        { c = Conv(x, w, b) n = BatchNormalization(c, b, b, b, b) y = Add(n, c) }
    """
    onnx.save(model_of(text, WEIGHTS), tmp_path / "two.onnx")
    words = ("optimize", tmp_path / "two.onnx", "-p", "fold-batchnorm")
    line = "left alone: 1 site; --why says which, and why"
    assert line in call(*words)[1].splitlines()
    shown = call(*words, "--why")[1]
    assert line not in shown
    assert "has other readers" in shown
    assert "left alone" not in call("optimize", path, "-p", "fold-batchnorm")[1]


def test_verbose_counts_operators(call, path):
    _, shown, _ = call("optimize", path, "-v", "--no-portable")
    rows = [line.split() for line in shown.splitlines()]
    assert ["Relu", "1"] in rows
    assert ["Conv", "1", "1"] in rows or ["Conv", "1"] in rows


def test_times_have_the_unit_that_fits_them():
    times = [12.3e-6, 4.56e-3, 0.9994, 0.9996, 57.2859, 99.96, 541]
    expected = ["12.3 us", "4.56 ms", "999 ms", "1 s", "57.3 s", "1 min 40 s", "9 min 1 s"]
    assert [duration(each) for each in times] == expected
    assert [latency(each) for each in (1.2345e-3, -1e-3, 1.2345)] == [
        "1.234 ms",
        "-1.000 ms",
        "1.234 s",
    ]
