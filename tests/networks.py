"""The example networks as test subjects, each exported once a run for all tests.

PyTorch's exporter takes seconds a network, longer than everything that is then tested of it. So
networks are short: they have few of each kind of block. `make test-slow` has the whole networks.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_graphsurgeon as gs
import pytest
import torch
from torch import nn

import planish

from . import exporter  # noqa: F401  # has PyTorch export faster
from .shared import shared
from examples import models

WIDTH, SIZE = 0.25, 64
BATCH = torch.export.Dim("batch", min=1, max=64)

# Of structures that others have too, or tests of single passes: exported only by `make test-slow`.
ALIKE = frozenset(
    {"googlenet", "mobilenet_v3_small", "repvgg_a0", "resnet50", "resnet50_preact", "vgg16"}
)


@dataclass(frozen=True)
class Network:
    """An example network of a quarter of its width, for images of 64 x 64."""

    name: str
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.name} whole" if self.whole else self.name

    def module(self) -> nn.Module:
        """Return the network, in evaluation mode; all who ask share it."""
        return _module(self)

    def inputs(self, batch: int, seed: int = 0) -> torch.Tensor:
        """Return a batch of inputs."""
        (found,) = models.example_inputs(self.name, batch=batch, size=SIZE, seed=seed)
        return found

    def traced(self, batch: int | None = None) -> gs.Graph:
        """Return the graph as traced, for any batch or set to one."""
        graph = planish.load(self._exported() / "traced.onnx")
        if batch is not None:
            graph.inputs[0].shape[0] = batch
            for output in graph.outputs:
                output.shape = None
        return graph

    def dynamo_optimized(self) -> Path:
        """Return PyTorch's own file, as its optimizer left it, for any batch."""
        return self._exported() / "optimized.onnx"

    def _exported(self) -> Path:
        return _exported(self)


def networks(*, names: Iterable[str] = models.NAMES, slow: Collection[str] = ()) -> list[Any]:
    """Return parameters: the networks short, and, marked slow, whole; `slow`, ALIKE: only whole."""
    whole = [pytest.param(n, marks=pytest.mark.slow, id=str(n)) for n in map(_whole, names)]
    left_out = ALIKE.union(slow)
    return [*(pytest.param(Network(n), id=n) for n in names if n not in left_out), *whole]


def _whole(name: str) -> Network:
    return Network(name, whole=True)


@functools.cache
def _module(network: Network) -> nn.Module:
    def make(folder: Path) -> None:
        module = models.build(network.name, width=WIDTH, size=SIZE, short=not network.whole)
        torch.save(module, folder / "module.pt")

    loaded: nn.Module = torch.load(
        shared(("module", network), make) / "module.pt", weights_only=False
    )
    return loaded


@functools.cache
def _exported(network: Network) -> Path:
    def make(folder: Path) -> None:
        with _exports() as programs:
            graph = planish.trace(
                network.module(), (network.inputs(2),), dynamic_shapes=({0: BATCH},)
            )
        planish.save(graph, folder / "traced.onnx")
        (program,) = programs
        program.optimize()
        program.save(folder / "optimized.onnx")

    return shared(network, make)


@contextlib.contextmanager
def _exports() -> Iterator[list[Any]]:
    """Collect what PyTorch's exporter returns, for its optimizer to go on with."""
    export, made = torch.onnx.export, []

    def watched(*args: Any, **kwargs: Any) -> Any:
        made.append(export(*args, **kwargs))
        return made[-1]

    torch.onnx.export = watched
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield made
    finally:
        torch.onnx.export = export
