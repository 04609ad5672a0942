"""Quantization-aware training: a small network in 3-bit weights, on handwritten digits.

A network is trained on scikit-learn's handwritten digits, traced, and quantized so coarsely that it
loses accuracy; `planish.to_fx` makes the quantized graph a PyTorch module with fake-quantizers, a
few epochs of ordinary training adapt weights and scales, and `planish.from_fx` writes both back
into the integer graph, which ONNX Runtime runs. Seconds on a CPU; seeded.

    python examples/quantization_aware_training.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime.quantization as ortq
import torch
from torch import nn

import planish
from planish.ir.run.reference import Reference

import digits

WEIGHT_BITS = 3


def network() -> nn.Module:
    """Return a network of three convolutions."""
    layers: list[nn.Module] = []
    for into, out, stride in ((1, 8, 1), (8, 12, 2), (12, 16, 2)):
        layers += [nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


class Calibration(ortq.CalibrationDataReader):
    """Feeds ONNX Runtime's calibration with one batch."""

    def __init__(self, name: str, images) -> None:
        self.feeds = iter([{name: images}])

    def get_next(self):
        """Return the batch, once."""
        return next(self.feeds, None)


def quantize(graph, images):
    """Return the graph in QDQ form, with weights of `WEIGHT_BITS` bits."""
    with tempfile.TemporaryDirectory() as folder:
        plain, made = Path(folder) / "float.onnx", Path(folder) / "quantized.onnx"
        planish.save(graph, plain, portable=True)
        ortq.quantize_static(
            plain,
            made,
            Calibration(graph.inputs[0].name, images),
            per_channel=False,
            weight_type=ortq.QuantType.QInt8,
            activation_type=ortq.QuantType.QUInt8,
        )
        model = onnx.load(made)
    return planish.load(coarsen(model))


def coarsen(model: onnx.ModelProto) -> onnx.ModelProto:
    """Requantize the int8 weights of a QDQ model to `WEIGHT_BITS` bits, in the same storage."""
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    most = 2 ** (WEIGHT_BITS - 1) - 1
    for node in model.graph.node:
        integers = held.get(node.input[0])
        if node.op_type != "DequantizeLinear" or integers is None:
            continue
        if integers.data_type != onnx.TensorProto.INT8:
            continue
        scale = onnx.numpy_helper.to_array(held[node.input[1]])
        real = onnx.numpy_helper.to_array(integers) * scale
        step = (np.abs(real).max() / most).astype(np.float32)
        coarse = np.clip(np.rint(real / step), -most, most).astype(np.int8)
        integers.CopyFrom(onnx.numpy_helper.from_array(coarse, integers.name))
        held[node.input[1]].CopyFrom(
            onnx.numpy_helper.from_array(step.reshape(scale.shape), node.input[1])
        )
    # Each bias lies on the grid of input scale times weight scale, which has changed with it.
    made = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:
            continue
        source, weight, bias = (made[name] for name in node.input)
        product = np.float32(1)
        for part in (source, weight):
            product = product * onnx.numpy_helper.to_array(held[part.input[1]])
        before = onnx.numpy_helper.to_array(held[bias.input[1]])
        integers = held[bias.input[0]]
        real = onnx.numpy_helper.to_array(integers) * before
        whole = np.rint(real / product).astype(np.int32)
        integers.CopyFrom(onnx.numpy_helper.from_array(whole, integers.name))
        product = np.broadcast_to(product, before.shape).astype(np.float32)
        held[bias.input[1]].CopyFrom(onnx.numpy_helper.from_array(product, bias.input[1]))
    return model


def accuracy(graph, images, labels) -> float:
    """Return the share of images that ONNX Runtime classifies rightly."""
    outputs = Reference(graph)({graph.inputs[0].name: images})
    (scores,) = outputs.values()
    return float(np.mean(scores.argmax(1) == labels))


def run(epochs: int, tuning: int) -> tuple[float, float, float]:
    """Return the accuracy of the float network, of the quantized one, and of that trained on."""
    torch.manual_seed(0)
    found = digits.data()
    images, labels = found.images, found.labels
    module = network()
    digits.train(module, torch.optim.Adam(module.parameters(), 5e-3), images, labels, epochs)
    batch = torch.export.Dim("batch")
    graph = planish.trace(module, torch.from_numpy(images[:2]), dynamic_shapes=({0: batch},))
    graph = planish.Pipeline.parse("exact").run(graph, verify="off").graph
    coarse = quantize(graph, images)

    trained = planish.to_fx(coarse, learn_scales=True)
    scales = [p for name, p in trained.named_parameters() if name.endswith("quantizer.scale")]
    weights = [p for name, p in trained.named_parameters() if not name.endswith("quantizer.scale")]
    groups = [{"params": weights, "lr": 2e-3}, {"params": scales, "lr": 2e-4}]
    digits.train(trained, torch.optim.Adam(groups), images, labels, tuning)

    graphs = graph, coarse, planish.from_fx(trained)
    first, second, third = (accuracy(g, found.unseen, found.answers) for g in graphs)
    return first, second, third


def main() -> None:
    """Train, quantize, train on, and print the three accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40, help="of the float network")
    parser.add_argument("--tuning", type=int, default=20, help="epochs of the quantized one")
    options = parser.parse_args()
    before, coarse, after = run(options.epochs, options.tuning)
    print(f"float32                                {before:6.1%}")
    print(f"{WEIGHT_BITS}-bit weights, 8-bit activations       {coarse:6.1%}")
    print(f"after quantization-aware training      {after:6.1%}")


if __name__ == "__main__":
    main()
