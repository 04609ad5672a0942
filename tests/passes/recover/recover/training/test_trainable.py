"""Graphs as modules that train."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from planish.passes.recover.recover.training.trainable import Trainable, to_tensors

from tests.helpers import graph_of
from tests.passes.recover.recover.small import normal


def test_what_does_not_train_is_not_changed_by_a_bit() -> None:
    text = """g (double[N, 3] x) => (double[N, 3] y, double[N, 3] z) {
        y = MatMul (x, w) z = MatMul (x, v)
    }"""
    held = {name: np.random.default_rng(i).standard_normal((3, 3)) for i, name in enumerate("wv")}
    graph = graph_of(text, held)
    example = {"x": np.ones((2, 3))}
    trainable = Trainable(graph, example, frozenset(), None)
    assert trainable.values() == {}
    trainable.free_unused(lambda: trainable(to_tensors(example))["y"].sum())
    named = dict(trainable.module.named_parameters())
    assert [name for name, p in named.items() if p.requires_grad] == ["matmul.weight"]
    with torch.no_grad():
        next(p for p in named.values() if p.requires_grad).add_(1)
    found = trainable.values()
    assert list(found) == ["w"]
    assert found["w"].dtype == np.float64
    np.testing.assert_allclose(found["w"], held["w"] + 1, atol=1e-6)


def test_constants_others_read_are_frozen() -> None:
    text = "g (float[N, 3] x) => (float[N, 3] y) { h = MatMul (x, w) y = MatMul (h, v) }"
    graph = graph_of(text, {"w": normal(0, 3, 3), "v": normal(1, 3, 3)})
    trainable = Trainable(graph, {"x": normal(2, 2, 3)}, {"w"}, None)
    assert [n for n, p in trainable.module.named_parameters() if p.requires_grad] == [
        "matmul_1.weight"
    ]


def test_a_batch_size_is_freed_where_the_graph_allows_it(capfd: pytest.CaptureFixture[str]) -> None:
    text = """g (float[1, 3, 2, 2] x) => (float[1, 4] y) {{
        h = Conv (x, v)
        a = Constant <value = int64[1] {{1}}> ()
        b = Constant <value = int64[1] {{{size}}}> ()
        s = Concat <axis = 0> (a, b)
        r = Reshape (h, s)
        {end}
    }}"""
    held = {"v": normal(0, 4, 3, 2, 2), "one": np.ones((1, 4), np.float32)}
    held["c"] = normal(1, 1, 4)
    frees = graph_of(text.format(size=4, end="y = Relu (r)"), held)
    frees.inputs[0].shape = [None, 3, 2, 2]
    example = {"x": normal(2, 1, 3, 2, 2)}
    made = Trainable(frees, example, frozenset(), 1)
    assert made.unit is None
    assert made({"x": torch.zeros(5, 3, 2, 2)})["y"].shape == (5, 4)
    bound = graph_of(
        text.format(size=4, end="t = Concat <axis = 0> (r, c) y = ReduceSum (t)"), held
    )
    assert Trainable(bound, example, frozenset(), 1).unit == 1
    assert capfd.readouterr().err == ""
