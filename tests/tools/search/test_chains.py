"""The substitute of one layer alone, taken over from a graph where all layers have one."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.tools.search.chains import parameters_of, substitutes_in, tensors_made, with_substitute
from planish.tools.search.sites import read_sites
from planish.tools.search.treatments import SUBSTITUTES

from tests.helpers import graph_of, run_ort

RNG = np.random.default_rng(0)


def weight(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


GRAPH = graph_of(
    """g (float[1, 8, 6, 6] x) => (float[1, 16, 6, 6] y) {
        a = Conv <pads=[1,1,1,1]> (x, u, m) b = Relu(a)
        c = Conv <pads=[1,1,1,1]> (b, v) d = Relu(c) y = Conv (d, w)
    }""",
    {
        "u": weight(16, 8, 3, 3),
        "m": weight(16),
        "v": weight(16, 16, 3, 3),
        "w": weight(16, 16, 1, 1),
    },
)
X = RNG.standard_normal((1, 8, 6, 6)).astype(np.float32)


def replaced(pipeline):
    return planish.Pipeline.parse(pipeline).run(GRAPH, verify="off").graph


def _by_kind(site):
    return ([site.name], []) if site.is_windowed else ([], [site.name])


@pytest.mark.parametrize("substitute", SUBSTITUTES, ids=lambda each: each.name)
def test_one_layer_has_it_and_the_others_do_not(substitute):
    sites = read_sites(GRAPH)
    everywhere = replaced(substitute.text())
    chains = substitutes_in(everywhere, sites.layers, tensors_made(GRAPH))
    spatial = {"a", "c"}
    assert set(chains) == (spatial if substitute.name == "depthwise" else {*spatial, "y"})
    for site in sites.layers:
        if site.name not in chains:
            continue
        alone = with_substitute(GRAPH, site, chains[site.name])
        # Without feeds the fit of a layer depends on its weight alone, so that these are the same.
        expected = replaced(substitute.text(*_by_kind(site)))
        found = run_ort(planish.to_model(alone), {"x": X})["y"]
        np.testing.assert_array_equal(found, run_ort(planish.to_model(expected), {"x": X})["y"])
        assert parameters_of(chains[site.name]) < 2 * site.parameters
