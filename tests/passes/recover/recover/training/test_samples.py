"""Samples of feeds, however they were batched."""

from __future__ import annotations

import numpy as np
import pytest

from planish.ir.core.errors import FeedError
from planish.passes.recover.recover.training.samples import Samples

from tests.helpers import graph_of


def test_an_eighth_judges_and_units_stay_whole() -> None:
    graph = graph_of("g (float[4, 2] x) => (float[4, 2] y) { y = Relu (x) }")
    values = np.arange(80, dtype=np.float32).reshape(40, 2)
    given = [{"x": values[i : i + 4]} for i in range(0, 40, 4)]
    with Samples(graph, given, (), 0) as samples:
        assert (samples.count, samples.unit, samples.trained) == (40, 4, 36)
        assert sorted(samples.order) == list(range(40))
        units = samples.order.reshape(-1, 4)
        assert (units == units[:, :1] + np.arange(4)).all()
        assert [len(chunk) for chunk in samples.chunks()] == [4] * 10
        np.testing.assert_array_equal(samples.at(np.array([3]))["x"], values[samples.order[[3]]])
        fed = np.concatenate([feed["x"] for feed in samples.feeds()])
        np.testing.assert_array_equal(fed, values[samples.order])
        first = samples.digest()
    given[3] = {"x": given[3]["x"] + 1}
    with Samples(graph, given, (), 0) as samples:
        assert samples.digest() != first


def test_inputs_without_a_common_batch_are_refused() -> None:
    graph = graph_of("g (float[N, 2] x, float[M, 2] z) => (float[] y) { y = Add (x, z) }")
    given = [{"x": np.zeros((4, 2), np.float32), "z": np.zeros((1, 2), np.float32)}]
    with pytest.raises(FeedError, match="no common first axis"):
        Samples(graph, given, (), 0)
