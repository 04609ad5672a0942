"""What the survey measures of a small network, layer by layer, and what it does without."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.tools.search.request import Budget, Request
from planish.tools.search.start import begin
from planish.tools.search.survey import Survey
from planish.tools.search.treatments import SUBSTITUTES, TREATMENTS, Treatment
from planish.tools.tasks.journal import TaskJournal
from planish.tools.tasks.task import Outcome
from planish.tools.trials.clock import Runtime

from tests.helpers import graph_of
from tests.tools.in_process import InProcess

pytest.importorskip("scipy", reason="factors are SciPy's")
RNG = np.random.default_rng(0)


class WithoutFourBits(InProcess):
    """Runs tasks but for one, which fails."""

    def run(self, tasks, folders):
        for place, task in enumerate(tasks):
            if task.function.endswith(":weights_alone"):
                yield place, Outcome(error="it broke")
            else:
                yield place, next(super().run([task], [folders[place]]))[1]


@pytest.mark.usefixtures("brief_bench")
def test_two_layers_of_an_old_opset_without_anything_between(tmp_path):
    """Their factors could be composed, but not in a network of which one alone has factors."""
    graph = graph_of(
        "g (float[1, 64, 16, 16] x) => (float[1, 96, 16, 16] y) {"
        " a = Conv (x, u) b = Conv (a, v) y = Relu(b) }",
        {
            "u": RNG.standard_normal((32, 64, 1, 1)).astype(np.float32),
            "v": RNG.standard_normal((96, 32, 1, 1)).astype(np.float32),
        },
    )
    graph.opset = 11  # which has no scales along an axis
    given = begin(graph, planish.random_feeds(graph, samples=8), tmp_path).given
    request = Request(budget=Budget(speedup=2.0), runtime=Runtime(threads=1))
    survey = Survey(TaskJournal(tmp_path, WithoutFourBits(), {}), given, request)
    costs = survey.costs()
    for substitute in SUBSTITUTES[1:]:
        place = TREATMENTS.index(Treatment("float", substitute))
        assert np.isfinite(costs.noise[place]).all()
        assert (costs.seconds[place, 0] > 0).all()
        assert (costs.parameters[place] < costs.parameters[0]).all()
    int8 = costs.noise[TREATMENTS.index(Treatment("int8"))]
    assert (int8 > 0).all()
    assert (int8 < 0.01).all()
    assert survey.failed == [("weights4, each layer alone", "it broke")]
    assert np.isinf(costs.noise[TREATMENTS.index(Treatment("weights4"))]).all()
