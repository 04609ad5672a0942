"""One run of `reconstruct-blocks`: block after block, and what the whole network says in the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import ConversionError
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import is_quantizer
from ....ir.ops.quantization.parameters import read_quantization
from ....ir.ops.shapes.infer import infer_types
from ...analysis.observe.staged_capture import StagedCapture
from ...engine.context import Context
from ..recover.blocks.block_samples import BlockSamples
from ..recover.blocks.cuts import Block
from ..recover.subgraph import part_of, read_once
from ..recover.training.fit import TrainingTask, fit
from ..recover.training.interrupt import Interrupts
from ..recover.training.recipe import TrainingRecipe
from ..recover.training.sample_store import Array
from ..recover.training.samples import Samples
from ..recover.training.trainable import to_tensors
from ..recover.training.workers import Workers
from ..recover.weights import constants, set_values, write_values

_WARM = 0.2
_BETAS = 20.0, 2.0
PULL = 1.0


@dataclass(frozen=True)
class Reconstructed:
    """What became of a block: its error on samples held back, and why it was left, if it was."""

    name: str
    before: float
    after: float
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """A quantized graph (that of `context`), the float one, and how blocks of it learn."""

    context: Context
    teacher: gs.Graph
    samples: Samples
    recipe: TrainingRecipe
    drop: float
    learn_scales: bool
    workers: Workers
    interrupts: Interrupts

    def run(self, blocks: Sequence[Block]) -> list[Reconstructed]:
        """Reconstruct `blocks` in order; each reads what those before it give by now."""
        found = []
        feeds = self.samples.feeds()
        with (
            StagedCapture(self.teacher, feeds) as floats,
            StagedCapture(self.context.graph, feeds, optimized=False) as actual,
        ):
            for number, block in enumerate(blocks):

                def tell(fraction: float, note: str, number: int = number) -> None:
                    place = f"block {number + 1} of {len(blocks)}"
                    self.context.progress((number + fraction) / len(blocks), f"{place}, {note}")

                found.append(self._reconstruct(block, number, floats, actual, tell))
        return found

    def _reconstruct(
        self,
        block: Block,
        number: int,
        floats: StagedCapture,
        actual: StagedCapture,
        tell: Callable[[float, str], None],
    ) -> Reconstructed:
        graph, samples = self.context.graph, self.samples
        view = self.context.view()
        limits = {name: known for name in block.outputs if (known := _limits(graph, view, name))}
        part = part_of(graph, block.inputs, block.outputs, infer_types(graph))
        with (
            BlockSamples(samples, block.inputs, block.outputs, limits) as data,
            BlockSamples(samples, block.inputs, ()) as clean,
        ):
            names = list(dict.fromkeys([*block.inputs, *block.outputs]))
            with (
                closing(actual.stage(block.inputs)) as sources,
                closing(floats.stage(names)) as targets,
            ):
                for given, wanted in zip(sources, targets, strict=True):
                    self.interrupts.check()
                    data.append(given, wanted)
                    clean.append(wanted, {})
            return self._learn(block, part, number, data, clean, tell)

    def _learn(
        self,
        block: Block,
        part: gs.Graph,
        number: int,
        data: BlockSamples,
        clean: BlockSamples,
        tell: Callable[[float, str], None],
    ) -> Reconstructed:
        from .quantized_block import QuantizedBlock

        samples, device = self.samples, self.workers.device
        before = data.error_of(part, optimized=False)
        weights = {name for name in constants(part) if name}
        frozen = weights - read_once(self.context.graph, weights, block.nodes)
        example = data.given(np.arange(samples.unit))
        try:
            module = QuantizedBlock(
                part,
                example,
                frozen,
                samples.fixed,
                drop=self.drop,
                learn_scales=self.learn_scales,
            )
        except ConversionError as error:
            return Reconstructed(block.name, before, before, str(error))
        if not module.groups(1.0):
            return Reconstructed(block.name, before, before)
        module.module.to(device)
        recipe = replace(self.recipe, seed=self.recipe.seed + 7919 * (number + 1))
        total = recipe.total(samples.trained)

        def loss(call: Any, index: Array, step: int, place: int) -> Any:
            mixed = self._mixed(data, clean, index)
            module.phase.learning = True
            try:
                error = data.loss(call, index, device, mixed) / max(before, 1e-12)
                return error + PULL * _pull(module, step / total)
            finally:
                module.phase.learning = False

        def evaluate(call: Any) -> tuple[float, str]:
            error = data.evaluate(call, device)
            return error, f"error {before:.3g} -> {error:.3g}"

        outcome = fit(
            module,
            TrainingTask(f"block {block.name}", samples.trained, loss, evaluate),
            recipe,
            self.workers,
            self.interrupts,
            progress=tell,
        )
        values = self.workers.agreed(module.values())
        set_values(part, values)
        after = data.error_of(part, optimized=False)
        if not after < before:
            return Reconstructed(block.name, before, before, outcome.problem)
        write_values(self.context, values)
        return Reconstructed(block.name, before, after, outcome.problem)

    def _mixed(self, data: BlockSamples, clean: BlockSamples, index: Array) -> Any:
        """Return inputs of which elements are those of the float network, each by the drop."""
        import torch

        device = self.workers.device
        given = to_tensors(data.given(index), device)
        if not self.drop:
            return given
        floats = to_tensors(clean.given(index), device)
        return {
            name: torch.where(torch.rand_like(x) < self.drop, floats[name], x)
            if x.is_floating_point()
            else x
            for name, x in given.items()
        }


def _pull(module: Any, part: float) -> Any:
    if part < _WARM:
        return 0.0
    start, end = _BETAS
    at = (part - _WARM) / (1 - _WARM)
    return module.undecided(end + (start - end) * (1 - at))


def _limits(graph: gs.Graph, view: View, name: str) -> tuple[float, float] | None:
    """Return the least and the largest value of the tensor `name` that its readers tell apart."""
    tensor = next(t for n in graph.nodes for t in n.outputs if t.name == name)
    readers = view.readers(tensor)
    if view.is_output(tensor) or not readers or not all(map(is_quantizer, readers)):
        return None
    ends = []
    for node in readers:
        known = read_quantization(node).constants(view.constant)
        if known is None or not known.is_per_tensor or known.integer_type.kind not in "iu":
            return None
        bounds = np.iinfo(known.integer_type)
        found = known.dequantize(np.array([bounds.min, bounds.max], known.integer_type))
        if found is None:
            return None
        ends.append(found)
    return float(min(e[0] for e in ends)), float(max(e[1] for e in ends))
