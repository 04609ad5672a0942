"""What integers cost in accuracy, judged with labels: Fashion-MNIST, beside published figures.

    apt-get install dataset-fashion-mnist
    python -m benchmarks.labelled_accuracy --data /usr/share/datasets/fashion-mnist [NETWORK ...]

Networks whose losses on ImageNet are published learn 60,000 images of 10 classes (28 x 28, here
with a border of two); `--weights` keeps what they learned, a minute to five an epoch on one core.
Some of the images that they learned from calibrate, without labels, and the 10,000 others judge.
Weights and activations of 8 bits, and weights of 4, are computed as written (no kernel of the
runtime saturates). What is lost is stated in points of top-1 with the error that 10,000 images
leave: of two networks that answer otherwise on d images, sqrt(d) / 100 points.

Published, ImageNet: EfficientNet-Lite0 75.50 -> 75.18 (NNCF), MobileNetV2 71.72 -> 71.08 (AIMET),
MobileNetV3-Small 0.5 57.9 -> 56.7 (bias correction).
"""

from __future__ import annotations

import argparse
import gzip
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from efficientnet_lite_pytorch import EfficientNet
from rich.console import Console
from rich.progress import track
from torch import nn

import planish
from planish.cli.show.plain import listing_table

from .integer_accuracy import by_runtime, run
from examples.models.mobilenet_v2 import MobileNetV2
from examples.models.mobilenet_v3 import MobileNetV3Small

Array = np.ndarray[Any, Any]
CLASSES, BATCH, PART = 10, 128, 500
_REST = "measure=false,guard=off,reduce-range=false"
PIPELINES = {
    "quantize": f"simplify,quantize{{{_REST}}}",
    "int8": f"int8{{{_REST}}}",
    "int8, W4A8": f"int8{{{_REST},weights=int4}}",
}


def _mobilenet_v2() -> nn.Module:
    network = MobileNetV2(0.5, CLASSES)
    network.features[0][0] = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
    return network


def _mobilenet_v3() -> nn.Module:
    network = MobileNetV3Small(0.5, CLASSES)
    network.features[0][0] = nn.Conv2d(1, 8, 3, 1, 1, bias=False)
    return network


def _efficientnet_lite() -> nn.Module:
    network: nn.Module = EfficientNet.from_name(
        "efficientnet-lite0", in_channels=1, num_classes=CLASSES, image_size=32
    )
    return network


# By name: how it is made, and how many times it sees the images.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "mobilenet_v2_050": (_mobilenet_v2, 3),
    "mobilenet_v3_small_050": (_mobilenet_v3, 5),
    "efficientnet_lite0": (_efficientnet_lite, 3),
}


def images(folder: Path, part: str) -> tuple[Array, Array]:
    """Return the images float32 [N, 1, 32, 32] called `part` (train, t10k) and classes int64 [N].

    The files are those of MNIST (LeCun et al.): a header of 16 and 8 bytes, then a byte a pixel and
    a byte a class.
    """
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    padded = np.pad(pixels, ((0, 0), (0, 0), (2, 2), (2, 2))).astype(np.float32)
    return (padded / 255 - 0.286) / 0.353, labels


def _augmented(x: torch.Tensor) -> torch.Tensor:
    x = torch.roll(x, torch.randint(-2, 3, (2,)).tolist(), (2, 3))
    return x.flip(3) if torch.rand(()) < 0.5 else x


def learn(name: str, x: Array, y: Array) -> nn.Module:
    """Return the network called `name`, trained on `x` and `y`."""
    torch.manual_seed(0)
    make, epochs = NETWORKS[name]
    network = make().train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.02)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    pixels, classes = torch.from_numpy(x), torch.from_numpy(y)
    order = torch.cat([torch.randperm(len(x))[: steps // epochs * BATCH] for _ in range(epochs)])
    for part in track(order.split(BATCH), name):
        images = _augmented(pixels[part]).contiguous(memory_format=torch.channels_last)
        loss = nn.functional.cross_entropy(network(images), classes[part], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().to(memory_format=torch.contiguous_format)


def exported(name: str, x: Array, y: Array, weights: Path | None) -> onnx.ModelProto:
    """Return the float network called `name`: the file kept in `weights`, or else learned."""
    kept = None if weights is None else weights / f"{name}.onnx"
    if kept is not None and kept.exists():
        return onnx.load(kept)
    network = learn(name, x, y)
    batch = torch.export.Dim("batch")
    sample = torch.from_numpy(x[:2])
    model = planish.to_model(planish.trace(network, (sample,), dynamic_shapes=({0: batch},)))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, kept)
    return model


def answers(model: onnx.ModelProto, x: Array) -> Array:
    """Return the classes int64 [N] that `model` gives `x`."""
    parts = [x[i : i + PART] for i in range(0, len(x), PART)]
    return np.concatenate([run(model, part).argmax(1) for part in parts])


def by_planish(model: onnx.ModelProto, pipeline: str, samples: Array) -> onnx.ModelProto:
    """Return what `pipeline` makes of `model`."""
    name = model.graph.input[0].name
    feeds = [{name: samples[i : i + 1]} for i in range(len(samples))]
    parsed = planish.Pipeline.parse(pipeline)
    result = parsed.run(planish.load(model), feeds=feeds, verify="off")
    return planish.to_model(result.graph, portable=True)


def rows(name: str, options: argparse.Namespace) -> list[tuple[str, ...]]:
    """Return a row for each way: network, way, samples, top-1, points lost and their error."""
    x, y = images(options.data, "train")
    unseen, right = images(options.data, "t10k")
    model = exported(name, x, y, options.weights)
    expected = answers(model, unseen)
    accuracy = float((expected == right).mean())
    found = [(name, "float", "", f"{100 * accuracy:.2f}", "", "")]
    for count in options.samples:
        samples = x[np.random.default_rng(options.seed).permutation(len(x))[:count]]
        made = {"quantize_static": by_runtime(model, samples)}
        made |= {way: by_planish(model, text, samples) for way, text in PIPELINES.items()}
        for way, each in made.items():
            given = answers(each, unseen)
            hits = float((given == right).mean())
            changed = int(((given == right) != (expected == right)).sum())
            lost, error = 100 * (accuracy - hits), 100 * np.sqrt(changed) / len(right)
            found.append(
                (name, way, str(count), f"{100 * hits:.2f}", f"{lost:+.2f}", f"{error:.2f}")
            )
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data set")
    parser.add_argument("--weights", type=Path, help="a folder that keeps what is learned")
    parser.add_argument("--samples", type=int, nargs="+", default=[32, 128], help="to calibrate")
    parser.add_argument("--seed", type=int, default=0, help="draws the samples")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    found = [row for name in options.networks for row in rows(name, options)]
    head = ("network", "way", "samples", "top-1 %", "lost", "+-")
    Console().print(listing_table(found, *head))


if __name__ == "__main__":
    main()
