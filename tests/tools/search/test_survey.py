"""What the survey measures of a small network, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.tools.search.request import Budget, Request
from planish.tools.search.start import begin
from planish.tools.search.survey import Survey
from planish.tools.search.treatments import SUBSTITUTES, TREATMENTS, Treatment
from planish.tools.tasks.journal import TaskJournal
from planish.tools.trials.clock import Runtime

from tests.helpers import graph_of
from tests.tools.in_process import InProcess

pytest.importorskip("scipy", reason="factors are SciPy's")
RNG = np.random.default_rng(0)


def test_each_of_two_layers_without_anything_between_has_its_own_time(tmp_path):
    """Their factors could be composed; as a network of which one has factors, they are not."""
    graph = graph_of(
        "g (float[1, 64, 16, 16] x) => (float[1, 96, 16, 16] y) {"
        " a = Conv (x, u) b = Conv (a, v) y = Relu(b) }",
        {
            "u": RNG.standard_normal((32, 64, 1, 1)).astype(np.float32),
            "v": RNG.standard_normal((96, 32, 1, 1)).astype(np.float32),
        },
    )
    given = begin(graph, planish.random_feeds(graph, samples=8), tmp_path).given
    request = Request(budget=Budget(speedup=2.0), runtime=Runtime(threads=1))
    costs = Survey(TaskJournal(tmp_path, InProcess(), {}), given, request).costs()
    for substitute in SUBSTITUTES[1:]:
        place = TREATMENTS.index(Treatment("float", substitute))
        assert np.isfinite(costs.noise[place]).all()
        assert (costs.seconds[place, 0] > 0).all()
        assert (costs.parameters[place] < costs.parameters[0]).all()
