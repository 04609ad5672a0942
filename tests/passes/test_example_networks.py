"""Every example network, traced, under the preset `exact` at batch 1, dynamic and 3."""

from __future__ import annotations

import pytest
import torch

import planish

from tests.helpers import relative_error, run_ort
from tests.networks import networks


@pytest.fixture(scope="module", params=networks())
def traced(request):
    """Return a module, its input by batch size, and its network."""
    network = request.param
    return network.module(), {n: network.inputs(n) for n in (1, 3)}, network


def test_tracing_keeps_every_normalization(traced):
    module, _, network = traced
    count = sum("BatchNorm" in type(part).__name__ for part in module.modules())
    nodes = network.traced().nodes
    assert sum(node.op == "BatchNormalization" for node in nodes) == count


# With a batch of three as with one all sizes are known, and as with any batch three are run.
@pytest.mark.parametrize("batch", [1, pytest.param(3, marks=pytest.mark.slow), None])
def test_exact_keeps_the_network(traced, batch):
    module, inputs, network = traced
    graph = network.traced(batch)
    name = graph.inputs[0].name
    sizes = (1, 3) if batch is None else (batch,)
    feeds = [{name: inputs[n].numpy()} for n in sizes]
    result = planish.Pipeline.parse("exact").run(graph, feeds, verify="each")
    # The exporter gives Conv3d a bias of shape [M, N], which no runtime accepts before.
    assert result.verified or "bias must be a 1D" in result.note
    assert result.edits > 0
    again = planish.Pipeline.parse("exact").run(result.graph, verify="off")
    assert again.edits == 0, [r for r in again.records if r.edits]
    assert not [n for n in result.graph.nodes if n.op == "BatchNormalization"]
    portable = planish.to_model(result.graph, portable=True)
    for n in sizes:
        with torch.no_grad():
            expected = module(inputs[n])
        expected = expected if isinstance(expected, tuple) else (expected,)
        found = run_ort(portable, {name: inputs[n].numpy()})
        for want, got in zip(expected, found.values(), strict=True):
            assert relative_error(want.numpy(), got) < 1e-4
