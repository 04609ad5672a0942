"""A block of a quantized graph as a module whose rounding, steps and biases learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

import onnx_graphsurgeon as gs
import torch

from ....ir.torch.fake_quantize import FakeQuantize
from ..recover.training.sample_store import Array
from ..recover.training.trainable import Trainable
from ..recover.weights import Values
from .fake_quantizers import LearnedRounding, LearnedStep, Phase

# In parts of the learning rate: of logarithms of steps, and of biases in parts of their own size.
_OF_STEPS, _OF_BIASES = 0.1, 0.1
# Integers beyond these are those of biases.
_MOST_WEIGHT = 2**16


class QuantizedBlock(Trainable):
    """The module of a part of a quantized graph; of weights at most the rounding learns.

    `frozen`: constants that others read too. `real`: float weights by the name of integers. `drop`:
    the probability that an activation is not rounded while learning.
    """

    def __init__(
        self,
        graph: gs.Graph,
        samples: Mapping[str, Array],
        frozen: Set[str],
        unit: int | None,
        *,
        real: Mapping[str, Array],
        drop: float,
        learn_rounding: bool,
        learn_scales: bool,
    ) -> None:
        super().__init__(graph, samples, frozen, unit)
        self.phase = Phase(drop=drop)
        self._frozen, self._real, self._learn_scales = frozen, real, learn_scales
        self._names = {b.path: b.constant.name for b in self._source().bindings if b.path}
        for parameter in self.module.parameters():
            parameter.requires_grad_(False)
        self._biases = list(self._free_biases())
        self._weights: list[str] = []
        self.rounded = list(self._learn_rounding()) if learn_rounding else []
        self.steps = list(self._learn_steps())

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Return what moves weights, steps and biases as groups, each with a learning rate."""
        found: list[dict[str, Any]] = [
            {"params": [m.shift for m in self.rounded]},
            {"params": [m.growth for m in self.steps], "lr": _OF_STEPS * rate},
        ]
        for bias in self._biases:
            size = float(bias.detach().square().mean().sqrt())
            found.append({"params": [bias], "lr": _OF_BIASES * rate * size})
        return [group for group in found if group["params"]]

    @contextmanager
    def learning(self, done: float) -> Iterator[None]:
        """Let activations drop their rounding, as in a step of learning."""
        self.phase.learning, self.phase.done = True, done
        try:
            yield
        finally:
            self.phase.learning = False

    def values(self) -> Values:
        """Return the constants that learning has changed, by name, in their own type."""
        with torch.no_grad():
            for path, module in zip(self._weights, self.rounded, strict=True):
                parameter = self.module.get_parameter(path)
                parameter.copy_(module(parameter))
        return super().values()

    def _free_biases(self) -> Iterator[torch.nn.Parameter]:
        parameters = dict(self.module.named_parameters())
        for binding in self._source().bindings:
            found = parameters.get(binding.path)
            own = binding.constant.name not in self._frozen
            if binding.kind == "bias" and found is not None and own:
                yield found.requires_grad_(True)

    def _learn_rounding(self) -> Iterator[LearnedRounding]:
        for binding in self._source().bindings:
            if binding.kind != "integers" or binding.constant.name in self._frozen:
                continue
            quantizer = self.module.get_submodule(binding.quantizer)
            if type(quantizer) is not FakeQuantize or quantizer.qmax >= _MOST_WEIGHT:
                continue
            weight = self.module.get_parameter(binding.path).detach()
            known = self._real.get(binding.constant.name)
            real = weight if known is None else torch.from_numpy(known)
            made = LearnedRounding(quantizer, weight, real, self.phase)
            self._place(binding.quantizer, made)
            self._weights.append(binding.path)
            yield made

    def _learn_steps(self) -> Iterator[LearnedStep]:
        quantizers = {
            name: m for name, m in self.module.named_modules() if isinstance(m, FakeQuantize)
        }
        shared = Counter(m.scale.data_ptr() for m in quantizers.values())
        for path, quantizer in quantizers.items():
            if type(quantizer) is not FakeQuantize or not quantizer.batched:
                continue
            name = self._names.get(f"{path}.scale")
            learn = self._learn_scales and name is not None and name not in self._frozen
            learn = learn and shared[quantizer.scale.data_ptr()] == 1
            made = LearnedStep(quantizer, self.phase, learn=learn)
            self._place(path, made)
            if learn:
                yield made

    def _place(self, path: str, module: torch.nn.Module) -> None:
        owner, _, leaf = path.rpartition(".")
        setattr(self.module.get_submodule(owner), leaf, module)
