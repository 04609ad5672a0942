"""shrink-channels on every example network: random channels silenced, then really removed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import planish
from planish.passes.analysis.cost import cost

from examples import models
from tests.helpers import relative_error, run_ort
from tests.networks import SIZE, Network, networks
from tests.passes.analysis.channels.masking import silence

# Channels that shuffles and groups hold evenly leave less to remove.
_LEFT = {"shufflenet_v1": 0.95, "shufflenet_v2": 0.8}
# Of structures that others have too.
_LONG = {
    "audio_cnn",
    "densenet121",
    "detector",
    "efficientnet_b0",
    "mobilenet_v2",
    "resnet18",
    "shufflenet_v1",
    "unet",
    "video_cnn",
}


@pytest.mark.parametrize("network", networks(slow=_LONG))
def test_shrunk_network_computes_what_the_masked_one_does(network, tmp_path):
    name, inputs = network.name, network.inputs(2)
    if name == "shufflenet_v1":
        traced = _shufflenet_v1(inputs, tmp_path / "model.onnx")
    else:
        traced = network.traced()
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


def _shufflenet_v1(inputs, path):
    """Return it at its own width: narrower, its groups have a channel or two.

    Of a batch that is given: else the targets of its shuffles are computed until simplify-reshapes
    has run.
    """
    module = models.build("shufflenet_v1", size=SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (inputs,), path, dynamo=False, do_constant_folding=False,
                          training=torch.onnx.TrainingMode.PRESERVE)  # fmt: skip
    return planish.load(path)


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
    graph = Network("resnet18").traced()
    counts = silence(graph, seed=0)
    assert all(0 < gone < total for gone, total in counts.values())
    assert np.mean([gone / total for gone, total in counts.values()]) > 0.3
