"""What is asked for: multiples, exclusions, a limit, and the fastest cut."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.core.errors import PlanishError
from planish.passes.engine import stopwatch

from tests.helpers import graph_of, run_ort, run_pass
from tests.passes.prune.shrink_channels.cases import (
    PASS,
    PLAIN,
    normal,
    plain,
    shapes,
    shrink,
    zeroed,
)


def test_excluded_layers_keep_their_channels():
    weights = plain(w2=zeroed(normal(5, 4, 3, 3), 1, 1))
    graph = graph_of(PLAIN, weights)
    assert run_pass(graph, "shrink-channels{measure=false,exclude=a}").edits == 0
    with pytest.raises(PlanishError, match="exclude names the node 'aa', which the graph does not"):
        run_pass(graph, "shrink-channels{measure=false,exclude=aa}")


@pytest.mark.parametrize(("multiple", "left"), [(1, 5), (2, 6), (4, 8), (8, 8), (16, 10)])
def test_channels_are_rounded_up(multiple, left):
    result = shrink(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            y = Conv(a, w2)
        }""",
        f"shrink-channels{{measure=false,multiple={multiple}}}",
        w1=normal(10, 3, 1, 1),
        w2=zeroed(normal(5, 10, 1, 1), 1, 0, 2, 4, 6, 8),
    )
    assert shapes(result)["w1"] == [left, 3, 1, 1]


def test_a_negative_multiple_is_refused():
    with pytest.raises(PlanishError, match="multiple is -1; give 0"):
        planish.Pipeline.parse("shrink-channels{multiple=-1}")


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_edits_are_counted_and_limited(limit):
    graph = graph_of(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            b = Conv(a, w2)
            y = Conv(b, w3)
        }""",
        {
            "w1": normal(4, 3, 1, 1),
            "w2": zeroed(normal(6, 4, 1, 1), 1, 1),
            "w3": zeroed(normal(5, 6, 1, 1), 1, 2),
        },
    )
    result = planish.Pipeline.parse(PASS).run(graph, verify="each", limit=limit)
    assert result.edits == limit
    made = [[4, 6], [3, 6], [3, 5]][limit]
    assert [n.inputs[1].shape[0] for n in result.graph.nodes[:2]] == made


class Watch:
    """Says how long graphs take by the channels of their first layer."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds = seconds

    def __call__(self, graphs, feed, target, *, seconds, seed):
        assert feed["x"].shape == (1, 3, 64, 64)
        return [self.seconds[next(iter(g.nodes)).inputs[1].shape[0]] for g in graphs]


@pytest.mark.parametrize(
    ("seconds", "left", "remark"),
    [
        # Fewest channels are fastest.
        ({40: 1.0, 21: 0.5, 24: 0.6, 32: 0.7}, 21, "2.00 times as fast on fake; multiple=1"),
        # Full vectors are.
        ({40: 1.0, 21: 1.1, 24: 0.8, 32: 0.9}, 24, "1.25 times as fast on fake; multiple=8"),
        # As fast as the fastest, and fewer.
        ({40: 1.0, 21: 0.81, 24: 0.8, 32: 0.9}, 21, "1.23 times as fast on fake; multiple=1"),
        # None is.
        (
            {40: 1.0, 21: 1.2, 24: 1.1, 32: 1.3},
            40,
            "nothing is cut: the fastest cut takes 1.10 times as long on fake (multiple=8",
        ),
    ],
)
def test_what_is_fastest_is_taken(monkeypatch, seconds, left, remark):
    monkeypatch.setitem(stopwatch.STOPWATCHES, "fake", Watch(seconds))
    graph = graph_of(
        """g (float[1, 3, 64, 64] x) => (float[] y) {
            a = Conv(x, w1)
            y = Conv(a, w2)
        }""",
        {"w1": normal(40, 3, 1, 1), "w2": zeroed(normal(5, 40, 1, 1), 1, *range(19))},
    )
    pipeline = planish.Pipeline.parse("shrink-channels")
    result = pipeline.run(graph, verify="each", target="fake")
    assert result.graph.nodes[0].inputs[1].shape[0] == left
    (found,) = result.records[0].remarks
    assert found.startswith(remark)
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    before, after = (run_ort(planish.to_model(g), {"x": x})["y"] for g in (graph, result.graph))
    assert np.allclose(before, after, atol=1e-5)
