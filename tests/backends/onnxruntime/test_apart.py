"""Timing in processes of their own."""

import numpy as np
import pytest

from planish.backends.onnxruntime import stopwatch
from planish.backends.onnxruntime.apart import time_apart
from planish.ir.core.errors import ExecutionError

from tests.helpers import graph_of

X = {"x": np.ones((64, 256), np.float32)}


def products(count):
    body = " ".join(f"[m{i}] t{i + 1} = MatMul(t{i}, w)" for i in range(count))
    text = f"g (float[N, 256] x) => (float[N, 256] y) {{ t0 = Relu(x) {body} y = Abs(t{count}) }}"
    return graph_of(text, {"w": np.eye(256, dtype=np.float32)})


def test_each_process_times_all_graphs():
    graphs = [products(1), products(200)]  # which other processes slow down less than that
    found = time_apart(graphs, X, "cpu", seconds=0.05, seed=0, repeats=2)
    assert [len(each) for each in found] == [2, 2]
    assert all(0 < short < long for short, long in found)


def test_inputs_may_be_called_anything():
    graph = products(1)
    graph.inputs[0].name = "allow_pickle"
    found = time_apart([graph], {"allow_pickle": X["x"]}, "cpu", seconds=0.02, seed=0, repeats=1)
    assert found[0][0] > 0


def test_a_model_that_does_not_load_is_said():
    graph = graph_of("g (float[N, 256] x) => (float[N, 256] y) { y = Relu(x) }")
    graph.nodes[0].op = "NoSuchOperator"
    with pytest.raises(ExecutionError, match="in a process of its own failed"):
        time_apart([graph], X, "cpu", seconds=0.05, seed=0, repeats=1)


def test_where_no_process_can_be_started_this_one_measures(monkeypatch):
    monkeypatch.setattr("planish.backends.onnxruntime.apart.sys.executable", "/no/such/python")
    found = stopwatch.time_repeatedly([products(1)], X, "cpu", seconds=0.02, seed=0, repeats=2)
    assert [len(each) for each in found] == [1, 1]
