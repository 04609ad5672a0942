"""What choices cost, against sums by hand; what is left out of the choice."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from planish.tools.search.costs import ChoiceCosts, SiteCosts, crossing_of, seconds_of
from planish.tools.search.plan import SitePlan
from planish.tools.search.sites import Sites, channels_left, read_sites
from planish.tools.search.treatments import BYTES, SUBSTITUTES, TREATMENTS, Treatment

from tests.helpers import graph_of, run_pass

RNG = np.random.default_rng(0)
INT8 = TREATMENTS.index(Treatment("int8"))


def weight(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def graph():
    """Return a stem, a residual block with a depthwise layer in it, and a head."""
    return graph_of(
        """g (float[1, 3, 8, 8] x) => (float[1, 5] y) {
            a = Conv <pads=[1,1,1,1]> (x, s) r = Relu(a)
            b = Conv (r, e) q = Relu(b)
            c = Conv <pads=[1,1,1,1], group=32> (q, d)
            k = Conv (c, p) t = Add(k, r)
            z = GlobalAveragePool(t) f = Flatten(z) y = Gemm <transB=1> (f, h)
        }""",
        {
            "s": weight(16, 3, 3, 3),
            "e": weight(32, 16, 1, 1),
            "d": weight(32, 1, 3, 3),
            "p": weight(16, 32, 1, 1),
            "h": weight(5, 16),
        },
    )


@pytest.fixture(scope="module")
def costs(graph):
    """Return drawn costs of the two groups and five layers, at amounts of 0, a half and more."""
    sites = read_sites(graph)
    shape = (len(TREATMENTS), 3, len(sites.layers))
    noise = np.full((len(TREATMENTS), len(sites.layers)), np.inf)
    noise[0] = 0
    noise[INT8] = [0.1, 0.2, np.inf, 0.4, 0.5]
    left = np.ones((3, len(sites.groups)))
    left[1:, :2] = [[0.5, 0.5], [0.5, 0.25]]  # the first group cannot lose more than a half
    return SiteCosts(
        sites=sites,
        amounts=(0.0, 0.5, 0.75),
        left=left,
        seconds=RNG.uniform(1, 2, shape),
        parameters=np.array([[s.parameters for s in sites.layers]] * len(TREATMENTS), float),
        noise=noise,
        pruned=np.array([[0, 0, 0], [0.3, 0.7, 0], [0.3, 0.9, 0]], float)[:, : len(sites.groups)],
        crossing=1e-3,
    )


def test_layers_groups_and_who_reads_whom(graph):
    sites = read_sites(graph)
    assert Sites.from_json(sites.to_json()) == sites
    assert [layer.name for layer in sites.layers] == ["a", "b", "c", "k", "y"]
    stem, inner = (next(i for i, g in enumerate(sites.groups) if name in g.layers) for name in "ab")
    assert set(sites.groups[stem].layers) == {"a", "k"}
    assert set(sites.groups[inner].layers) == {"b", "c"}
    by = {layer.name: layer for layer in sites.layers}
    assert by["b"].reads == ((stem, 1.0),)
    assert by["b"].makes == by["c"].makes == ((inner, 1.0),)
    assert by["c"].carries
    assert by["y"].reads == ((stem, 1.0),)
    pairs = {(sites.layers[a].name, sites.layers[b].name) for a, b, _ in sites.edges}
    assert pairs == {("a", "b"), ("b", "c"), ("c", "k"), ("a", "y"), ("k", "y")}
    masked = run_pass(graph, "prune{granularity=channel,amount=0.5,scope=layer,only=[b]}")
    left = channels_left(masked.graph, sites)
    assert [left[stem], left[inner]] == [16, 16]


def by_hand(costs, plan):
    """Return error, seconds and bytes of a plan: the equations of the module's docstring."""
    sites, amounts = costs.sites, costs.amounts
    level = [amounts.index(amount) for amount in plan.amounts]
    error = seconds = size = 0.0
    for i, (site, treatment) in enumerate(zip(sites.layers, plan.treatments, strict=True)):
        k = TREATMENTS.index(treatment)
        (read, _), (made, _) = site.reads[0], site.makes[0]
        groups = {g for g in (read, made) if g >= 0 and len(set(costs.left[:, g])) > 1}
        times = [costs.seconds[k, level[g], i] for g in groups] or [costs.seconds[k, 0, i]]
        seconds += np.exp(np.mean(np.log(times)))
        parts = np.prod([costs.left[level[g], g] for g in groups])
        size += site.parameters * parts * BYTES[treatment.precision]
        error += costs.noise[k, i]
    for a, b, values in sites.edges:
        if (plan.treatments[a].precision == "int8") != (plan.treatments[b].precision == "int8"):
            seconds += costs.crossing * values
    error += sum(costs.pruned[k, g] for g, k in enumerate(level))
    return {"error": error, "seconds": seconds, "bytes": size}


def test_every_choice_costs_what_its_parts_do(costs):
    choices = ChoiceCosts(costs)
    every = list(itertools.product(*map(range, choices.problem.sizes)))
    assert len(every) == 2**4 * 2 * 3  # the third layer stays float; amounts that differ
    for choice in every:
        plan = choices.plan(choice)
        assert choices.choice(plan) == choice
        assert choices.problem.costs(choice) == pytest.approx(by_hand(costs, plan))


def test_scales_multiply_the_noise_of_their_kind(costs):
    plan = SitePlan((Treatment("int8"), *[Treatment("float")] * 4), (0.0, 0.5, 0.0))
    plain, scaled = ChoiceCosts(costs), ChoiceCosts(costs, {"int8": 3.0, "pruned": 5.0})
    assert plain.noise(plan) == {"int8": 0.1, "pruned": 0.7, "weights4": 0, "substituted": 0}
    error = scaled.problem.costs(scaled.choice(plan))["error"]
    assert error == pytest.approx(3 * 0.1 + 5 * 0.7)


def test_layers_sum_to_what_the_whole_takes():
    found = seconds_of({"seconds": [1.0, 3.0], "whole": 8.0})
    assert found == pytest.approx([2.0, 6.0])
    assert seconds_of({"seconds": [0.0, 0.0], "whole": 8.0}) == pytest.approx([4.0, 4.0])


def test_crossing_is_what_a_mixed_network_takes_beyond_its_layers(costs):
    sites = costs.sites
    plan = SitePlan((Treatment("int8"), *[Treatment("float")] * 4), (0.0, 0.0, 0.0))
    seconds = costs.seconds[:, 0]
    layers = seconds[INT8, 0] + seconds[0, 1:].sum()
    values = sum(size for a, b, size in sites.edges if a == 0)
    assert crossing_of(sites, plan, layers + 5.0, seconds) == pytest.approx(5.0 / values)
    assert crossing_of(sites, plan, 0.0, seconds) == 0


def test_no_layer_has_a_substitute_around_which_channels_go(costs):
    rank = TREATMENTS.index(Treatment("float", SUBSTITUTES[1]))
    noise, seconds = costs.noise.copy(), costs.seconds.copy()
    noise[rank, 1], seconds[rank, :, 1] = 0.01, 0.1  # the second layer reads and makes of a group
    choices = ChoiceCosts(replace(costs, noise=noise, seconds=seconds))
    plans = [choices.plan(c) for c in itertools.product(*map(range, choices.problem.sizes))]
    pruned = [p for p in plans if p.treatments[1].substitute and any(p.amounts)]
    free = [p for p in plans if p not in pruned]
    assert pruned
    assert any(p.treatments[1].substitute for p in free)
    error = {p: choices.problem.costs(choices.choice(p))["error"] for p in plans}
    assert all(np.isinf(error[p]) for p in pruned)
    assert all(np.isfinite(error[p]) for p in free)
    # The fastest of all would be one of these, and the solver takes the fastest of the others.
    time = {p: choices.problem.costs(choices.choice(p))["seconds"] for p in plans}
    assert min(plans, key=time.__getitem__) in pruned
    found = choices.plan(choices.problem.solve({}, least="seconds"))
    assert time[found] == pytest.approx(min(time[p] for p in free))
