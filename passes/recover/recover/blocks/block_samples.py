"""What a block reads and what it should give, sample by sample on the disk, and its error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.run.reference import Reference
from ....analysis.observe.capture import Arrays
from ....analysis.observe.squares import unit_of
from ..training.fit import mean_over
from ..training.sample_store import Array, SampleStore
from ..training.samples import Samples
from ..training.trainable import to_tensors


class BlockSamples:
    """Tensors `inputs` that a block reads, and `outputs` that it should give, for all of `samples`.

    The error is the squared one over the variance of the targets, the mean over the outputs.
    `limits`: the least and the largest value that readers tell apart, of outputs that have such. To
    be used in a `with` statement, whose end gives the disk back.
    """

    def __init__(
        self,
        samples: Samples,
        inputs: Sequence[str],
        outputs: Sequence[str],
        limits: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._samples, self._limits = samples, limits or {}
        self._given, self._wanted = SampleStore(), SampleStore()
        self._sums = {name: np.zeros(3) for name in outputs}

    def __enter__(self) -> BlockSamples:
        return self

    def __exit__(self, *error: object) -> None:
        self._given.__exit__()
        self._wanted.__exit__()

    def append(self, given: Arrays, wanted: Arrays) -> None:
        """Add the next of the samples; other tensors than those of the block pass by."""
        self._given.append({name: given[name] for name in self.inputs})
        self._wanted.append({name: wanted[name] for name in self.outputs})
        for name, sums in self._sums.items():
            values = np.asarray(wanted[name], np.float64)
            sums += values.size, values.sum(), np.square(values).sum()

    def given(self, index: Array) -> Arrays:
        """Return what the block reads of the samples at `index`."""
        return self._given.take(self.inputs, index)

    def loss(self, call: Callable[[Any], Any], index: Array, device: Any, given: Any = None) -> Any:
        """Return the error of `call`, from input tensors to output tensors, at `index`.

        `given`: the inputs, where these are not what was kept.
        """
        if given is None:
            given = to_tensors(self.given(index), device)
        found = call(given)
        wanted = to_tensors(self._wanted.take(self.outputs, index), device)
        parts = []
        for name in self.outputs:
            unit, spread = self._scale(name)
            value = found[name]
            if name in self._limits:
                value = value.clamp(*self._limits[name])
            parts.append(((value - wanted[name]) / unit).square().mean() / spread)
        return sum(parts) / len(parts)

    def evaluate(self, call: Callable[[Any], Any], device: Any) -> float:
        """Return the error of `call` on the held-out samples."""
        import torch

        samples = self._samples
        with torch.no_grad():
            return mean_over(
                samples.runs(samples.held_out),
                lambda i: (float(self.loss(call, i, device)), len(i)),
            )

    def error_of(self, graph: gs.Graph, *, optimized: bool = True) -> float:
        """Return the error of a graph, which need not become a module, on the held-out samples."""
        return float(self.errors_of(graph, optimized=optimized).mean())

    def errors_of(self, graph: gs.Graph, *, optimized: bool = True) -> Array:
        """Return the error of a graph on each of the held-out samples."""
        run = Reference(graph, optimized=optimized)
        found = [self._errors(run, i) for i in self._samples.runs(self._samples.held_out)]
        return np.concatenate(found)

    def _errors(self, run: Reference, index: Array) -> Array:
        found, wanted = run(self.given(index)), self._wanted.take(self.outputs, index)
        parts = []
        for name in self.outputs:
            unit, spread = self._scale(name)
            value = found[name].astype(np.float32)
            if name in self._limits:
                value = np.clip(value, *self._limits[name])
            squares = np.square((value - wanted[name]) / unit).reshape(len(index), -1)
            parts.append(squares.mean(axis=1) / spread)
        return np.asarray(np.mean(parts, axis=0))

    def _scale(self, name: str) -> tuple[float, float]:
        """Return a unit of the targets whose squares float32 holds, and their variance in it."""
        count, total, squares = self._sums[name]
        mean = total / max(count, 1)
        spread = max(squares / max(count, 1) - mean**2, 1e-12)
        unit = unit_of(math.sqrt(spread))
        return unit, spread / unit**2
