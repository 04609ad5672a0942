"""The exporter trap: no exporter and no setting may keep BatchNormalization from being folded."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import onnx
import pytest
import torch

import planish

from examples import models
from tests.helpers import relative_error, run_ort
from tests.networks import networks

# Their patterns are in the other networks and the unit tests.
_LONG = ("densenet121", "efficientnet_b0", "mobilenet_v2", "resnet18")
# Exported for one batch size too: layers of three dimensions, and transposed ones of two.
_STATIC = ("dcgan", "video_cnn")
# What TorchScript folds by itself: the sizes of views, of upsampled maps and of biases.
_FOLDED = ("detector", "shufflenet_v2", "video_cnn")


def check(network, inputs, path, folder):
    graph = planish.load(path)
    feeds = {graph.inputs[0].name: inputs.numpy()}
    result = planish.Pipeline.parse("exact").run(graph, [feeds], verify="each")
    # The dynamo exporter gives Conv3d a bias of shape [M, N], which no runtime accepts before.
    assert result.verified or (network.name == "video_cnn" and "bias must be a 1D" in result.note)
    assert not [node for node in result.graph.nodes if node.op == "BatchNormalization"]
    assert planish.Pipeline.parse("exact").run(result.graph, verify="off").edits == 0
    with torch.no_grad():
        expected = network.module()(inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    found = run_ort(planish.to_model(result.graph, portable=True), feeds)
    for want, got in zip(expected, found.values(), strict=True):
        assert relative_error(want.numpy(), got) < 1e-4
    before, after = (runtime_nodes(g, folder / "runtime.onnx") for g in (graph, result.graph))
    assert before is None or kernels(after) <= kernels(before)
    return graph


def kernels(counts):
    """Count what computes: blocked convolutions bring copies into their layout and out of it."""
    return sum(count for op, count in counts.items() if not op.startswith("Reorder"))


def runtime_nodes(graph, path):
    """Count what ONNX Runtime executes after its own optimizations, or None if it refuses.

    Fewer or equal nodes of its own kernels is what keeps an optimized file from being slower; time
    itself is measured by benchmarks/exporters.py.
    """
    try:
        planish.lower(graph, threads=1).save(path)
    except planish.PlanishError:
        return None
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("network", networks())
def test_dynamo_optimized(network, tmp_path):
    check(network, network.inputs(3), network.dynamo_optimized(), tmp_path)


@pytest.mark.parametrize("network", networks(slow=set(models.NAMES) - set(_STATIC)))
def test_dynamo_for_one_batch_size(network, tmp_path):
    module, inputs = network.module(), network.inputs(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(module, (inputs,), dynamo=True, optimize=False, verbose=False)
        program.save(tmp_path / "model.onnx")
        graph = check(network, inputs, tmp_path / "model.onnx", tmp_path)
        count = sum("BatchNorm" in type(part).__name__ for part in module.modules())
        assert sum(n.op == "BatchNormalization" for n in graph.nodes) == count
        program.optimize()
        program.save(tmp_path / "optimized.onnx")
    check(network, inputs, tmp_path / "optimized.onnx", tmp_path)


@pytest.mark.parametrize("network", networks(slow=_LONG))
def test_torchscript_with_dynamic_batch(network, tmp_path):
    _check_torchscript(network, tmp_path, folding=False)


@pytest.mark.parametrize("network", networks(slow=set(models.NAMES) - set(_FOLDED)))
def test_torchscript_that_folded_constants(network, tmp_path):
    _check_torchscript(network, tmp_path, folding=True)


def _check_torchscript(network, tmp_path, *, folding):
    module, inputs = network.module(), network.inputs(2)
    path = tmp_path / "model.onnx"
    outputs = 3 if network.name == "detector" else 1
    labels = ["x", *[f"y{i}" for i in range(outputs)]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (inputs,),
            path,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=folding,
            input_names=labels[:1],
            output_names=labels[1:],
            dynamic_axes={label: {0: "batch"} for label in labels},
        )
    model = onnx.load(path)
    kept = sum(node.op_type == "BatchNormalization" for node in model.graph.node)
    assert kept >= sum("BatchNorm" in type(part).__name__ for part in module.modules())
    graph = check(network, network.inputs(3), path, tmp_path)
    assert graph.inputs[0].shape[0] == "batch"


def test_bias_behind_shape_arithmetic():
    """The trap by hand: a zero bias spelled Expand(CastLike(0, x), Expand(Shape(w)[0:1], [1]))."""
    weights = {
        "w": np.random.default_rng(5).standard_normal((4, 3, 1, 1)).astype(np.float32),
        "s": np.array([1.5, -0.5, 2, 0.1], np.float32),
        "h": np.ones(4, np.float32),
        "m": np.arange(4, dtype=np.float32),
        "v": np.array([0.1, 1, 2, 3], np.float32),
    }
    from tests.helpers import assert_same_function, model_of, ops

    model = model_of(
        """g (float[N, 3, 4, 4] x) => (float[N, 4, 4, 4] y) {
            one = Constant <value_ints = [1]> ()
            zero = Constant <value_float = 0.0> ()
            size = Shape <start = 0, end = 1> (w)
            sizes = Expand (size, one)
            cast = CastLike (zero, x)
            bias = Expand (cast, sizes)
            c = Conv (x, w, bias)
            y = BatchNormalization (c, s, h, m, v)
        }""",
        weights,
    )
    result = planish.Pipeline.parse("exact").run(planish.load(model), verify="each")
    assert ops(result.graph) == ["Conv"]
    feeds = {"x": np.random.default_rng(6).standard_normal((2, 3, 4, 4)).astype(np.float32)}
    assert_same_function(model, result.graph, feeds, tolerance=1e-6)
