"""What a plan says for each layer is done with that layer, however its substitutes are called."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

import planish
from planish.tools.search.chains import layers_in, tensors_made
from planish.tools.search.plan import SitePlan
from planish.tools.search.request import Budget, Request
from planish.tools.search.search import BudgetSearch
from planish.tools.search.sites import read_sites
from planish.tools.search.survey import Given
from planish.tools.search.treatments import FLOAT, SUBSTITUTES, Treatment

from tests.helpers import graph_of

RNG = np.random.default_rng(0)
DEPTHWISE, RANK, _ = SUBSTITUTES


def weight(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


# The second layer has the name that factors of the first would have.
GRAPH = graph_of(
    """g (float[1, 16, 6, 6] x) => (float[1, 16, 6, 6] y) {
        a = Conv <pads=[1,1,1,1]> (x, u) b = Relu(a)
        a_1 = Conv <pads=[1,1,1,1]> (b, v) d = Relu(a_1) y = Conv <pads=[1,1,1,1]> (d, w)
    }""",
    {name: weight(16, 16, 3, 3) for name in "uvw"},
)
FEEDS = [{"x": RNG.standard_normal((1, 16, 6, 6)).astype(np.float32)} for _ in range(4)]


def run(text, graph):
    return planish.Pipeline.parse(text).run(graph, FEEDS, "off", strict=True).graph


def integers_of(graph):
    """Return the results of the layers whose weight is of integers."""
    view = planish.Context(graph).view()
    found = set()
    for node in graph.nodes:
        maker = None if node.op != "Conv" else view.producer(node.inputs[1])
        if maker is not None and maker.op == "DequantizeLinear":
            found.add(node.outputs[0].name)
    return found


@pytest.mark.parametrize(
    ("treatments", "floats"),
    [
        ((Treatment("float", RANK), Treatment("float", DEPTHWISE), Treatment("int8")), 3 + 2),
        ((Treatment("float", RANK), Treatment("int8", RANK), FLOAT), 3 + 1),
        ((FLOAT, Treatment("int8", DEPTHWISE), FLOAT), 2),
    ],
)
def test_floats_stay_float_and_integers_do_not(treatments, floats):
    sites = read_sites(GRAPH)
    plan = SitePlan(treatments, (0.0,) * len(sites.groups))
    shaped = run(plan.shape_text(sites), GRAPH)
    nodes = layers_in(shaped, sites.layers, tensors_made(GRAPH))
    assert sum(map(len, nodes.values())) == sum(node.op == "Conv" for node in shaped.nodes)
    made = run(plan.numbers_text(sites, nodes), shaped)
    convs = [node for node in made.nodes if node.op == "Conv"]
    assert len(convs) - len(integers_of(made)) == floats
    # The pipeline as one text does the same.
    whole = f"{plan.shape_text(sites)},{plan.numbers_text(sites, nodes)}"
    assert integers_of(run(whole, GRAPH)) == integers_of(made)


def test_a_layer_that_another_has_taken_in_has_no_name():
    sites = read_sites(GRAPH)
    without = run("cleanup", GRAPH)
    without.nodes[:] = [node for node in without.nodes if node.outputs[0].name != "a_1"]
    found = layers_in(without, sites.layers, tensors_made(GRAPH))
    assert found == {"a": ("a",), "a_1": (), "y": ("y",)}
    plan = SitePlan((Treatment("int8"), FLOAT, FLOAT), (0.0,) * len(sites.groups))
    assert plan.numbers_text(sites, found).endswith("exclude=[y]}")


@pytest.mark.parametrize("treatment", [FLOAT, Treatment("float", DEPTHWISE)])
def test_the_longer_recovery_differs_in_epochs_end_to_end_alone(treatment):
    sites = read_sites(GRAPH)
    plan = SitePlan((treatment,) * 3, (0.5,) * len(sites.groups))
    short, longer = (plan.shape_text(sites, recovery) for recovery in ("both", "longer"))
    epochs = [re.findall(r"mode=end-to-end,epochs=(\d+)", text) for text in (short, longer)]
    assert [len(found) for found in epochs] == [1, 1]
    assert int(epochs[1][0]) == 10 * int(epochs[0][0])
    assert longer.replace(f"epochs={epochs[1][0]}", f"epochs={epochs[0][0]}") == short


@pytest.mark.parametrize(("left", "fits"), [(13.0, False), (15.0, True)])
def test_the_longer_recovery_begins_where_its_epochs_fit(tmp_path, left, fits):
    journal = SimpleNamespace(spent=100.0)
    given = Given(model=tmp_path, learn=tmp_path, judge=tmp_path)
    request = Request(budget=Budget(speedup=2.0), seconds=100.0 + left)
    search = BudgetSearch(journal, given, request, tmp_path)
    search._longest |= {"blocks": 4.0, "both": 5.0}
    assert search._has_time("both")
    assert search._has_time("longer") is fits
