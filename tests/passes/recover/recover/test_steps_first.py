"""Networks whose samples lie along another axis of the output than the first, as LSTMs give it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.ops.shapes.infer import infer_types
from planish.passes.recover.recover.subgraph import sample_axes, samples_first_part

from tests.helpers import graph_of
from tests.passes.recover.recover.small import with_noise

STEPS, HIDDEN, CLASSES = 7, 6, 4
TEXT = f"""g (float[BATCH, {STEPS}, 5] x) => (float[{STEPS}, BATCH, {CLASSES}] y) {{
    t = Transpose <perm = [1, 0, 2]> (x)
    h = GRU <hidden_size = {HIDDEN}, linear_before_reset = 1> (t, w, r, b)
    s = Squeeze (h, one)
    y = MatMul (s, v) }}"""


def _network(batch: str) -> gs.Graph:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    weights = {
        "w": normal(1, 3 * HIDDEN, 5),
        "r": normal(1, 3 * HIDDEN, HIDDEN),
        "b": normal(1, 6 * HIDDEN),
        "v": normal(HIDDEN, CLASSES),
        "one": np.array([1]),
    }
    return graph_of(TEXT.replace("BATCH", batch), weights)


@pytest.mark.parametrize("batch", ["N", "2"])
def test_the_part_has_samples_first(batch: str) -> None:
    graph = _network(batch)
    types = infer_types(graph)
    assert sample_axes(graph, ["y", "t"], types) == {"y": 1, "t": 1}
    part = samples_first_part(graph, ["x"], ["y"], types)
    x = np.random.default_rng(1).normal(size=(2, STEPS, 5)).astype(np.float32)
    whole, found = (planish.lower(each)({"x": x})["y"] for each in (graph, part))
    np.testing.assert_allclose(found, whole.transpose(1, 0, 2), atol=1e-6)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("batch", ["N", "2"])
def test_it_learns_end_to_end(batch: str, labels: bool) -> None:
    graph = _network(batch)
    x = np.random.default_rng(2).normal(size=(48, STEPS, 5)).astype(np.float32)
    parts = x.reshape(-1, 2, STEPS, 5) if batch == "2" else x[None]
    run = planish.lower(graph)
    told = [run({"x": part})["y"] for part in parts]
    feeds = [
        {"x": part, **({"t": y.argmax(2).T.copy()} if labels else {})}
        for part, y in zip(parts, told, strict=True)
    ]
    student = with_noise(graph)
    text = "recover{mode=end-to-end,epochs=12,learning-rate=0.02" + (
        ",distill=0,labels=t}" if labels else "}"
    )
    before = _error(student, parts, told)
    if labels:
        after = planish.Pipeline.parse(text).run(student, feeds, verify="off", strict=True).graph
        assert _agreement(after, parts, told) > _agreement(student, parts, told)
        return

    class Break(planish.Pass):
        name = "break"
        exact = False

        def run(self, graph: gs.Graph, context: Any) -> gs.Graph:
            return student

    pipeline = planish.Pipeline((Break(), *planish.Pipeline.parse(text).passes))
    after = pipeline.run(graph, feeds, verify="off", strict=True).graph
    assert _error(after, parts, told) < 0.7 * before


def _error(graph: gs.Graph, parts: Any, told: Any) -> float:
    run = planish.lower(graph)
    pairs = zip(parts, told, strict=True)
    return float(np.mean([((run({"x": p})["y"] - y) ** 2).mean() for p, y in pairs]))


def _agreement(graph: gs.Graph, parts: Any, told: Any) -> float:
    run = planish.lower(graph)
    pairs = zip(parts, told, strict=True)
    return float(np.mean([(run({"x": p})["y"].argmax(2) == y.argmax(2)).mean() for p, y in pairs]))
