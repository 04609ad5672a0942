"""Both ShuffleNets, through every exporter, end without a Transpose or a Reshape of channels."""

from __future__ import annotations

import warnings
from collections import Counter

import pytest
import torch

import planish

from examples import models
from tests.helpers import relative_error, run_ort

PIPELINE = (
    "fold-constants,eliminate-dead-code,eliminate-sequences,eliminate-identities,"
    "eliminate-common-subexpressions,fold-batchnorm,absorb-channel-shuffle"
)
SIZE = 64
# Every unit but the first has a grouped convolution on both sides of its shuffle.
GATHERS = {"shufflenet_v1": 15, "shufflenet_v2": 0}


def _export(name, exporter, path):
    module = models.build(name, width=0.25, size=SIZE)
    inputs = models.example_inputs(name, batch=2, size=SIZE)
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        match exporter:
            case "trace":
                return planish.trace(module, inputs), module
            case "trace, dynamic batch":
                return planish.trace(module, inputs, dynamic_shapes=({0: batch},)), module
            case "torchscript" | "torchscript, dynamic":
                axes = {0: "batch"} if exporter == "torchscript" else {0: "n", 2: "h", 3: "w"}
                torch.onnx.export(module, inputs, path, dynamo=False, input_names=["x"],
                                  output_names=["y"], dynamic_axes={"x": axes})  # fmt: skip
            case _:
                program = torch.export.export(module, inputs, dynamic_shapes=({0: batch},))
                torch.onnx.export(program, (), dynamo=True, optimize=True, verbose=False).save(path)
    return planish.load(path), module


@pytest.mark.parametrize("name", GATHERS)
@pytest.mark.parametrize(
    "exporter",
    ["trace", "trace, dynamic batch", "dynamo", "torchscript", "torchscript, dynamic"],
)
def test_shuffles_dissolve(name, exporter, tmp_path):
    graph, module = _export(name, exporter, tmp_path / "model.onnx")
    result = planish.Pipeline.parse(PIPELINE).run(graph, verify="off")
    kinds = Counter(node.op for node in result.graph.nodes)
    assert not {"Transpose", "Reshape", "Slice"} & kinds.keys()
    assert kinds["Gather"] == GATHERS[name]
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
