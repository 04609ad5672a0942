"""How much of a network's second moments is kept, counted by what fitting takes."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.ops.linear.layer import Layer, read_with_bias
from planish.passes.analysis.observe import stages
from planish.passes.engine.context import Context

from tests.helpers import model_of


def _layers(*sizes: int) -> list[Layer]:
    """Return one MatMul after another, from each of `sizes` to the next."""
    pairs = list(itertools.pairwise(sizes))
    weights = {f"w{k}": np.ones(pair, np.float32) for k, pair in enumerate(pairs)}
    names = [f"a{k}" for k in range(len(pairs))] + ["y"]
    body = "\n".join(
        f"{names[k + 1]} = MatMul ({names[k]}, w{k})" for k in range(len(pairs))
    ).replace("a0", "x")
    graph: gs.Graph = planish.load(
        model_of(f"g (float[N, {sizes[0]}] x) => (float[] y) {{ {body} }}", weights)
    )
    view = Context(graph).view()
    return [read_with_bias(node, view) for node in graph.nodes]


def _work(layers: list[Layer], most: int) -> int:
    """Return the multiply-adds of one product of the blocks with themselves and the weights."""
    total = 0
    for layer in layers:
        rows = layer.outputs
        for start in range(0, layer.weight.size // rows, most):
            size = min(most, layer.weight.size // rows - start)
            total += size * size * (size + rows)
    return total


def test_few_columns_are_kept_whole():
    assert stages.columns_within_work(_layers(32, 64, 64, 10)) == stages.MOST_COLUMNS


@pytest.mark.parametrize("share", [0.9, 0.3, 0.1])
def test_blocks_are_halved_until_all_layers_fit(share, monkeypatch):
    layers = _layers(96, 128, 128, 64, 8)
    budget = share * _work(layers, 128)
    monkeypatch.setattr(stages, "MOST_COLUMNS", 128)
    monkeypatch.setattr(stages, "_LEAST_COLUMNS", 8)
    monkeypatch.setattr(stages, "_MOST_WORK", budget)
    most = stages.columns_within_work(layers)
    assert _work(layers, most) <= budget < _work(layers, 2 * most)
    assert [stages.parts_of(layer, most) for layer in layers] == [
        -(-(layer.weight.shape[0]) // most) for layer in layers
    ]


def test_blocks_are_never_smaller_than_the_least(monkeypatch):
    monkeypatch.setattr(stages, "MOST_COLUMNS", 128)
    monkeypatch.setattr(stages, "_LEAST_COLUMNS", 32)
    monkeypatch.setattr(stages, "_MOST_WORK", 1.0)
    assert stages.columns_within_work(_layers(128, 64, 8)) == 32
