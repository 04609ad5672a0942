"""What each part of `int8` does for accuracy: alone, and left out of the whole.

    python -m benchmarks.integer_accuracy [NETWORK ...]

Four small networks of unlike families learn scikit-learn's digits (needs torch and scikit-learn);
32 samples calibrate, drawn twice, and 500 others judge: SQNR in dB to the float network, weights of
8 bits, and in a second table of 4, computed as written (no kernel of the runtime saturates).
`quantize_static` is ONNX Runtime's, with its defaults and a grid for each channel.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from rich.console import Console
from sklearn.datasets import load_digits
from torch import nn

import planish
from benchmarks.integer_rewrites import centre_channels, split_outliers
from planish.cli.show.plain import listing_table
from planish.passes.quantize.quantize import placement
from planish.passes.quantize.quantize.network_judge import NetworkJudge

Array = np.ndarray[Any, Any]
SAMPLES, JUDGES, SEEDS, EPOCHS = 32, 500, (0, 1), 8
_EQUALIZE = "equalize-ranges{weight-bits=8}"
_ROUND = "round-adaptively{bits=8}"
_BLOCKS = "reconstruct-blocks"
_AS_ROUNDED = "reconstruct-blocks{learn-rounding=false}"


def _quantize(options: str = "") -> str:
    return f"quantize{{measure=false,guard=off,reduce-range=false{options}}}"


_BARE = _quantize(",calibration=min-max,correct-bias=false")
_RANGES = _quantize(",correct-bias=false")
_BIASES = _quantize(",calibration=min-max")
PIPELINES = {
    "pairs alone": _BARE,
    "+ ranges": _RANGES,
    "+ biases": _BIASES,
    "+ equalized": f"{_EQUALIZE},{_BARE}",
    "+ rounded": f"{_ROUND},{_BARE}",
    "all (int8)": f"{_EQUALIZE},{_ROUND},{_quantize()}",
    "without ranges": f"{_EQUALIZE},{_ROUND},{_BIASES}",
    "without biases": f"{_EQUALIZE},{_ROUND},{_RANGES}",
    "without equalizing": f"{_ROUND},{_quantize()}",
    "without rounding": f"{_EQUALIZE},{_quantize()}",
    "ranges by tensors alone": f"{_EQUALIZE},{_ROUND},{_quantize()}",
    "one grid for all operands": f"{_EQUALIZE},{_ROUND},{_quantize()}",
    "outlier channels split": f"{_EQUALIZE},{_ROUND},{_quantize()}",
    "channels centred": f"{_EQUALIZE},{_ROUND},{_quantize()}",
    "activations of 16 bits": f"{_EQUALIZE},{_ROUND},{_quantize(',activations=uint16')}",
    "all, then blocks": f"{_EQUALIZE},{_ROUND},{_quantize()},{_BLOCKS}",
    "all, then blocks, as rounded": f"{_EQUALIZE},{_ROUND},{_quantize()},{_AS_ROUNDED}",
}
_NEAREST = _quantize(",weights=int4")
_ALL = f"equalize-ranges{{weight-bits=4}},round-adaptively{{bits=4}},{_NEAREST}"
FOUR_BITS = {
    "quantize": _NEAREST,
    "+ blocks": f"{_NEAREST},{_BLOCKS}",
    "+ blocks, nothing dropped": f"{_NEAREST},{_BLOCKS}{{drop=0}}",
    "+ blocks, ranges as they were": f"{_NEAREST},{_BLOCKS}{{learn-scales=false}}",
    "+ blocks, as rounded": f"{_NEAREST},{_AS_ROUNDED}",
    "+ equalized, rounded": _ALL,
    "+ equalized, rounded, blocks": f"{_ALL},{_BLOCKS}",
    "+ equalized, rounded, blocks, as rounded": f"{_ALL},{_AS_ROUNDED}",
}
REWRITES = {"outlier channels split": split_outliers, "channels centred": centre_channels}
# What is patched: (where, its name, by what).
PATCHES: dict[str, tuple[Any, str, Any]] = {
    "ranges by tensors alone": (NetworkJudge, "__call__", lambda self, choices: 0),
    "one grid for all operands": (placement, "_UNLIKE", 0.0),
}


class Residual(nn.Module):
    """Blocks of two convolutions around an identity."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(1, 16)
        self.blocks = nn.ModuleList(
            nn.Sequential(_conv(16, 16), _conv(16, 16, act=None)) for _ in range(3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features [N, 16, H, W] of images [N, 1, H, W]."""
        x = self.stem(x)
        for block in self.blocks:
            x = torch.relu(x + block(x))
        return x


class Dense(nn.Module):
    """Layers that read all before them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_conv(1 + 8 * i, 8) for i in range(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features [N, 41, H, W] of images [N, 1, H, W]."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class Gated(nn.Module):
    """A depthwise block behind a squeeze-and-excite gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = _conv(channels, channels, groups=channels, act=nn.Hardswish)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, 8, 1),
            nn.ReLU(),
            nn.Conv2d(8, channels, 1),
            nn.Hardsigmoid(),
        )
        self.project = _conv(channels, channels, size=1, act=nn.Hardswish)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features of the shape of `x`."""
        x = self.depthwise(x)
        return self.project(x * self.gate(x))


def _conv(
    inputs: int, outputs: int, *, size: int = 3, groups: int = 1, act: Any = nn.ReLU
) -> nn.Sequential:
    layers = [
        nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([] if act is None else [act()]))


def _inverted(channels: int) -> nn.Sequential:
    wide = 4 * channels
    return nn.Sequential(
        _conv(channels, wide, size=1, act=nn.ReLU6),
        _conv(wide, wide, groups=wide, act=nn.ReLU6),
        _conv(wide, channels, size=1, act=None),
    )


NETWORKS: dict[str, Callable[[], tuple[nn.Module, int]]] = {
    "residual": lambda: (Residual(), 16),
    "dense": lambda: (Dense(), 41),
    "gated": lambda: (nn.Sequential(_conv(1, 24, act=nn.Hardswish), *map(Gated, [24] * 4)), 24),
    "inverted": lambda: (nn.Sequential(_conv(1, 12), *map(_inverted, [12] * 4)), 12),
}


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return images [1797, 1, 16, 16] and their classes, shuffled."""
    data = load_digits()
    x = torch.tensor(data.images / 16, dtype=torch.float32)[:, None]
    x = nn.functional.interpolate(x, size=(16, 16), mode="bilinear")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return ((x - 0.3) / 0.37)[order], torch.tensor(data.target)[order]


def trained(name: str, x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    """Return the network called `name`, trained on `x` and `y`."""
    torch.manual_seed(0)
    body, channels = NETWORKS[name]()
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    network = nn.Sequential(body, head).train()
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(x)).split(40):
            loss = nn.functional.cross_entropy(network(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


def run(model: onnx.ModelProto, x: Array) -> Array:
    """Return the outputs of `model`, computed as written."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options)
    found: Array = session.run(None, {session.get_inputs()[0].name: x})[0]
    return found


def decibels(expected: Array, found: Array) -> float:
    """Return the SQNR in dB."""
    return float(10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum()))


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, samples: Array) -> None:
        self._feeds = iter([{name: samples[i : i + 1]} for i in range(len(samples))])

    def get_next(self) -> Any:
        return next(self._feeds, None)


def by_runtime(model: onnx.ModelProto, samples: Array) -> onnx.ModelProto:
    """Return what `quantize_static` makes of `model`."""
    with tempfile.TemporaryDirectory() as folder:
        source, ready, target = (Path(folder, f"{name}.onnx") for name in "abc")
        onnx.save(model, source)
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        reader = _Reader(model.graph.input[0].name, samples)
        quantize_static(
            str(ready), str(target), reader, quant_format=QuantFormat.QDQ, per_channel=True
        )
        return onnx.load(target)


def by_planish(graph: gs.Graph, way: str, samples: Array) -> onnx.ModelProto:
    """Return what the pipeline called `way` makes of `graph`."""
    feeds = [{graph.inputs[0].name: samples[i : i + 1]} for i in range(len(samples))]
    pipeline = planish.Pipeline.parse({**PIPELINES, **FOUR_BITS}[way])
    if way in REWRITES:
        graph = REWRITES[way](graph, feeds)
    with patch.object(*PATCHES[way]) if way in PATCHES else nullcontext():
        result = pipeline.run(graph, feeds, verify="off")
    return planish.to_model(result.graph, portable=True)


def row(name: str, x: torch.Tensor, y: torch.Tensor) -> list[float]:
    """Return the dB of `quantize_static` and of each pipeline, means over the seeds."""
    network = trained(name, x[JUDGES:], y[JUDGES:])
    batch = torch.export.Dim("batch")
    graph = planish.trace(network, (x[:2],), dynamic_shapes=({0: batch},))
    model = planish.to_model(graph, portable=True)
    simplified = planish.Pipeline.parse("simplify").run(graph, verify="off").graph
    others = x[:JUDGES].numpy()
    expected = run(model, others)
    found = []
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(len(x) - JUDGES)[:SAMPLES]
        samples = x[JUDGES:].numpy()[order]
        made = [by_runtime(model, samples)]
        made += [by_planish(simplified, way, samples) for way in (*PIPELINES, *FOUR_BITS)]
        found.append([decibels(expected, run(each, others)) for each in made])
    return [float(value) for value in np.mean(found, axis=0)]


def main(names: list[str]) -> None:
    """Print the table, a row for each way and a column for each network."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    x, y = digits()
    columns = [row(name, x, y) for name in names]
    rows = [
        (
            way,
            *(f"{column[i]:.1f}" for column in columns),
            f"{np.mean([c[i] for c in columns]):.1f}",
        )
        for i, way in enumerate(("quantize_static", *PIPELINES, *FOUR_BITS))
    ]
    split = 1 + len(PIPELINES)
    Console().print(listing_table(rows[:split], "8 bits", *names, "mean"))
    Console().print(listing_table(rows[split:], "4 bits", *names, "mean"))


if __name__ == "__main__":
    main(sys.argv[1:] or list(NETWORKS))
