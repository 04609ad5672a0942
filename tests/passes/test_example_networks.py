"""Every example network, traced, under the preset `exact` at batch 1, 3 and dynamic."""

from __future__ import annotations

import pytest
import torch

import planish

from examples import models
from tests.helpers import relative_error, run_ort

WIDTH, SIZE = 0.25, 64


_NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name == "densenet121" else name
    for name in models.NAMES
]


@pytest.fixture(scope="module", params=_NAMES)
def traced(request):
    """Return a module, its input by batch size, and its graph with a dynamic batch."""
    module = models.build(request.param, width=WIDTH, size=SIZE)
    inputs = {n: models.example_inputs(request.param, batch=n, size=SIZE)[0] for n in (1, 2, 3)}
    batch = torch.export.Dim("batch", min=1, max=64)
    graph = planish.trace(module, (inputs[2],), dynamic_shapes=({0: batch},))
    return module, inputs, graph


@pytest.mark.parametrize("batch", [1, 3, None])
def test_exact_keeps_the_network(traced, batch):
    module, inputs, graph = traced
    copy = planish.load(planish.to_model(graph))
    if batch is not None:
        copy.inputs[0].shape[0] = batch
        for output in copy.outputs:
            output.shape = None
    name = copy.inputs[0].name
    sizes = (1, 3) if batch is None else (batch,)
    feeds = [{name: inputs[n].numpy()} for n in sizes]
    result = planish.Pipeline.parse("exact").run(copy, feeds, verify="each")
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
