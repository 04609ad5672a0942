"""A small network that reads handwritten digits, trained in a second or two, and its data."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch
from torch import nn

import planish
from planish.ir.core.build import make_constant, make_node, make_variable
from planish.ir.graph.clone import clone
from planish.ir.run.reference import Reference

from tests.helpers import graph_of
from tests.shared import shared

Array = np.ndarray[Any, Any]

TRAINED = 1200


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.norm1(self.first(x)))
        return torch.relu(x + self.norm2(self.second(inner)))


@functools.cache
def data() -> tuple[Array, Array]:
    """Return images [1797, 1, 8, 8] and labels, in a random order."""
    # As scikit-learn reads them, which takes longer to import than all else here.
    (folder,) = importlib.util.find_spec("sklearn").submodule_search_locations
    rows = np.loadtxt(Path(folder, "datasets", "data", "digits.csv.gz"), delimiter=",")
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    images = (rows[:, :-1].reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    return images, rows[:, -1].astype(np.int64)


def _trained() -> nn.Module:
    torch.manual_seed(0)
    channels = 12
    net = nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        _Residual(channels),
        nn.MaxPool2d(2),
        _Residual(channels),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 10),
    )
    images, labels = (torch.from_numpy(array[:TRAINED]) for array in data())
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    net.train()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order, so that the network is the same everywhere
    for _ in range(8):
        for index in torch.randperm(TRAINED).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images[index]), labels[index]).backward()
            optimizer.step()
    torch.set_num_threads(threads)
    return net.eval()


@functools.cache
def _teacher() -> gs.Graph:
    def make(folder: Path) -> None:
        shapes = ({0: torch.export.Dim("N")},)
        traced = planish.trace(_trained(), (torch.zeros(2, 1, 8, 8),), dynamic_shapes=shapes)
        planish.save(traced, folder / "teacher.onnx")

    return planish.load(shared("recover's teacher", make) / "teacher.onnx")


def teacher(batch: int | None = None) -> gs.Graph:
    """Return the trained graph, BatchNormalization present; `batch` samples or any number."""
    graph = clone(_teacher())
    if batch is not None:
        for tensor in (*graph.inputs, *graph.outputs):
            tensor.shape[0] = batch
    return graph


def feeds(samples: int = TRAINED, batch: int = 100, **labels: str) -> list[dict[str, Array]]:
    """Return the first samples as feeds; with `labels="name"` their classes too."""
    images, classes = data()
    name = teacher().inputs[0].name
    made = []
    for start in range(0, samples, batch):
        part = slice(start, min(start + batch, samples))
        made.append({name: images[part]} | dict.fromkeys(labels.values(), classes[part]))
    return made


def accuracy(graph: gs.Graph) -> float:
    """Return the share of unseen digits that `graph` reads right."""
    images, classes = data()
    run, name = Reference(graph), graph.inputs[0].name
    size = graph.inputs[0].shape[0]
    step = size if isinstance(size, int) else 597
    found = [
        next(iter(run({name: images[i : i + step]}).values())).argmax(1)
        for i in range(TRAINED, 1797 - (597 % step), step)
    ]
    flat = np.concatenate(found)
    return float((flat == classes[TRAINED : TRAINED + len(flat)]).mean())


def with_noise(graph: gs.Graph, amount: float = 0.5, seed: int = 1) -> gs.Graph:
    """Return a copy whose convolutions and matrices have Gaussian noise on their weights."""
    noisy = clone(graph)
    generator = np.random.default_rng(seed)
    for node in noisy.nodes:
        if node.op in ("Conv", "Gemm", "MatMul"):
            weight = node.inputs[1].values
            noise = generator.standard_normal(weight.shape) * weight.std() * amount
            node.inputs[1]._values = (weight + noise).astype(weight.dtype)
    return noisy


def with_masks(graph: gs.Graph, part: float = 0.5) -> gs.Graph:
    """Return a copy with masks on all weights but the first's, the smallest `part` of each zero."""
    masked = clone(graph)
    layers = [node for node in masked.nodes if node.op in ("Conv", "Gemm", "MatMul")]
    for node in layers[1:]:
        weight = node.inputs[1]
        size = np.abs(weight.values)
        values = (size > np.quantile(size, part)).astype(weight.dtype)
        mask = make_constant(f"{weight.name}_mask", values)
        product = make_variable(f"{weight.name}_masked", weight.dtype, list(weight.shape))
        made = make_node("Mul", f"{weight.name}_mul", {}, [weight, mask], [product], None)
        node.inputs[1] = product
        masked.nodes.insert(masked.nodes.index(node), made)
    return masked


def weights(graph: gs.Graph) -> dict[str, Array]:
    """Return the values of all constants by name."""
    return {t.name: t.values for n in graph.nodes for t in n.inputs if isinstance(t, gs.Constant)}


def normal(seed: int, *shape: int) -> Array:
    """Return standard normal numbers in float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def chain(count: int, seed: int = 0) -> gs.Graph:
    """Return x -> (Conv, Relu) * count -> y, of four channels."""
    nodes, weights, last = [], {}, "x"
    for number in range(count):
        weights[f"w{number}"] = normal(seed + number, 4, 4, 3, 3) / 6
        nodes.append(f"c{number} = Conv <pads = [1, 1, 1, 1]> ({last}, w{number})")
        last = f"r{number}" if number + 1 < count else "y"
        nodes.append(f"{last} = Relu (c{number})")
    return graph_of(
        f"g (float[N, 4, 6, 6] x) => (float[N, 4, 6, 6] y) {{ {' '.join(nodes)} }}", weights
    )
