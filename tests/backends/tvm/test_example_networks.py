"""Every example network through the TVM backend against PyTorch: batch 1, 8 and unknown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import planish
from planish.passes.trust.rounding import measure_rounding

from examples import models
from tests.helpers import relative_error
from tests.networks import Network

pytest.importorskip("tvm")

TOLERANCE = 1e-4
# One batch of one is in the suite; all of them together compile for minutes. What others are made
# of, test_networks.py has layer by layer, for batches of an unknown size too.
_QUICK = {("detector", 1)}


def _cases():
    for name in models.NAMES:
        for batch in (1, 8, "N"):
            if (name, batch) in _QUICK:
                yield pytest.param(Network(name), batch)
            else:
                yield pytest.param(Network(name, whole=True), batch, marks=pytest.mark.slow)


@pytest.mark.parametrize(("network", "batch"), _cases(), ids=str)
def test_an_example_network(network, batch) -> None:
    module = network.module()
    sizes = [1, 3] if batch == "N" else [batch]
    inputs = network.inputs(max(sizes))
    graph = network.traced(None if batch == "N" else batch)
    compiled = planish.lower(graph, backend="tvm", threads=2)
    for size in sizes:
        feeds = {graph.inputs[0].name: inputs[:size].numpy()}
        found = compiled(feeds)
        expected = dict(zip(found, _run(module, inputs[:size]), strict=True))
        worst = max(relative_error(values, found[key]) for key, values in expected.items())
        assert all(np.isfinite(values).all() for values in found.values())
        if worst > TOLERANCE:
            assert worst <= 10 * measure_rounding(graph, [feeds], [expected], seed=0)


def _run(module, inputs) -> list:
    with torch.no_grad():
        found = module(inputs)
    return [each.numpy() for each in (found if isinstance(found, tuple | list) else [found])]
