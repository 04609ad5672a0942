"""Both ShuffleNets, through every exporter, end without a Transpose or a Reshape of channels."""

from __future__ import annotations

import warnings
from collections import Counter

import pytest
import torch

import planish

from tests.helpers import relative_error, run_ort
from tests.networks import SIZE, Network

PIPELINE = (
    "fold-constants,eliminate-dead-code,eliminate-sequences,eliminate-identities,"
    "eliminate-common-subexpressions,fold-batchnorm,absorb-channel-shuffle"
)


def _gathers(network):
    """Every unit but the first has a grouped convolution on both sides of its shuffle."""
    return len(network.module().units) - 1 if network.name == "shufflenet_v1" else 0


def _export(network, exporter, path):
    module, inputs = network.module(), (network.inputs(2),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        match exporter:
            case "trace":
                return planish.trace(module, inputs)
            case "trace, dynamic batch":
                return network.traced()
            case "dynamo":
                return planish.load(network.dynamo_optimized())
            case "torchscript" | "torchscript, dynamic":
                axes = {0: "batch"} if exporter == "torchscript" else {0: "n", 2: "h", 3: "w"}
                torch.onnx.export(module, inputs, path, dynamo=False, input_names=["x"],
                                  output_names=["y"], dynamic_axes={"x": axes})  # fmt: skip
    return planish.load(path)


def _cases():
    """Tracing for one batch size is neither shared nor quick.

    Shuffles of a known size are in test_absorb_channel_shuffle.py.
    """
    kinds = ["trace", "trace, dynamic batch", "dynamo", "torchscript", "torchscript, dynamic"]
    for whole in (False, True):
        for name in ("shufflenet_v1", "shufflenet_v2"):
            for kind in kinds:
                slow = whole or kind == "trace"
                marks = pytest.mark.slow if slow else ()
                yield pytest.param(Network(name, whole), kind, marks=marks)


@pytest.mark.parametrize(("network", "exporter"), _cases(), ids=str)
def test_shuffles_dissolve(network, exporter, tmp_path):
    graph, module = _export(network, exporter, tmp_path / "model.onnx"), network.module()
    result = planish.Pipeline.parse(PIPELINE).run(graph, verify="off")
    kinds = Counter(node.op for node in result.graph.nodes)
    assert not {"Transpose", "Reshape", "Slice"} & kinds.keys()
    assert kinds["Gather"] == _gathers(network)
    again = planish.Pipeline.parse(PIPELINE).run(result.graph, verify="off")
    assert again.edits == 0
    sizes = [(2, SIZE, SIZE)]
    if "dynamic" in exporter or exporter == "dynamo":
        sizes.append((3, 96, 64) if exporter == "torchscript, dynamic" else (3, SIZE, SIZE))
    for batch, height, width in sizes:
        x = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            expected = module(x).numpy()
        feeds = {result.graph.inputs[0].name: x.numpy()}
        (found,) = run_ort(planish.to_model(result.graph), feeds).values()
        assert relative_error(expected, found) < 1e-4
