"""shrink-channels on every example network: random channels silenced, then really removed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import planish
from planish.passes.analysis.cost import cost

from examples import models
from tests.helpers import relative_error, run_ort
from tests.passes.analysis.channels.masking import silence

WIDTH, SIZE = 0.25, 64
# Narrower, its grouped convolutions have groups of a single channel or two; with a dynamic batch
# the targets of its shuffles are computed until simplify-reshapes has run.
_WIDTHS = {"shufflenet_v1": 1.0}
_FIXED_BATCH = ("shufflenet_v1",)
# Channels that shuffles and groups hold evenly leave less to remove.
_LEFT = {"shufflenet_v1": 0.95, "shufflenet_v2": 0.8}
# Long to trace, and of structures that others have too.
_LONG = {
    "densenet121", "efficientnet_b0", "googlenet", "repvgg_a0", "resnet50", "resnet50_preact",
    "vgg16",
}  # fmt: skip
_NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name in _LONG else name for name in models.NAMES
]


@pytest.mark.parametrize("name", _NAMES)
def test_shrunk_network_computes_what_the_masked_one_does(name):
    module = models.build(name, width=_WIDTHS.get(name, WIDTH), size=SIZE)
    inputs = models.example_inputs(name, batch=2, size=SIZE)[0]
    shapes = None if name in _FIXED_BATCH else ({0: torch.export.Dim("batch", min=1, max=64)},)
    traced = planish.trace(module, (inputs,), dynamic_shapes=shapes)
    steps = "repeat(fold-constants,eliminate-sequences,eliminate-identities,fold-batchnorm)"
    cleaned = planish.Pipeline.parse(steps).run(traced, verify="off").graph
    feeds = {traced.inputs[0].name: inputs.numpy()}
    pipeline = planish.Pipeline.parse("shrink-channels{measure=false}")
    for number, graph in enumerate((planish.load(planish.to_model(traced)), cleaned)):
        counts = silence(graph, seed=len(name) + number, rows=number == 0)
        assert counts
        result = pipeline.run(graph, verify="off")
        assert result.edits > 0
        expected = _run(graph, feeds)
        found = _run(result.graph, feeds)
        if expected is not None and found is not None:
            errors = [relative_error(expected[key], found[key]) for key in expected]
            assert max(errors) <= 1e-5
        else:
            assert name == "video_cnn"
            assert number == 0
        assert pipeline.run(result.graph, verify="off").edits == 0
        if number == 1 or name not in ("shufflenet_v2",):
            assert cost(result.graph).macs < _LEFT.get(name, 0.7) * cost(graph).macs


def _run(graph, feeds):
    """Return the outputs, or None where the exporter's bias of a Conv3d is refused."""
    try:
        return run_ort(planish.to_model(graph, portable=True), feeds)
    except Exception as error:
        if "bias must be a 1D" in str(error):
            return None
        raise


def test_masks_differ_from_network_to_network():
    """The masks drawn leave something and take something."""
    graph = planish.trace(
        models.build("resnet18", width=0.25, size=32), (torch.zeros(1, 3, 32, 32),)
    )
    counts = silence(graph, seed=0)
    assert all(0 < gone < total for gone, total in counts.values())
    assert np.mean([gone / total for gone, total in counts.values()]) > 0.3
