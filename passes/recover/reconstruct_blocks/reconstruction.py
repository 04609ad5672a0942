"""Block after block of a quantized graph learns; what helps on samples held back is kept.

A block is kept where its own error falls there. In the end the last ones go back as far as the
network's outputs are no better with them, for the first blocks alone may leave later ones with what
these were not made for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import ConversionError
from ....ir.graph.clone import clone
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
from ..recover.weights import Values, constants, set_values, write_values
from .float_weights import float_weights
from .limits import limits_of

# Errors below this part of the variance are as good as none.
_LEAST = 1e-12
# Seeds of blocks, and of what each draws, are apart.
_APART = 7919


@dataclass(frozen=True)
class ReconstructedBlock:
    """What became of a block: its error over its target's variance, and why it was left as it was.

    Both errors are those on samples held back.
    """

    name: str
    before: float
    after: float
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Learning:
    """How blocks learn: `drop` is the probability that an activation is not rounded in a step."""

    samples: Samples
    recipe: TrainingRecipe
    drop: float
    learn_rounding: bool
    learn_scales: bool
    workers: Workers
    interrupts: Interrupts


class BlockReconstruction:
    """The reconstruction of the graph of `context`, quantized, after the float network `floats`.

    `outputs`: the names of the outputs that judge the whole.
    """

    def __init__(
        self, context: Context, floats: gs.Graph, learning: Learning, outputs: Sequence[str]
    ) -> None:
        self._context, self._floats, self._learning = context, floats, learning
        self._outputs = outputs
        self.before = self.after = 0.0
        self._errors = np.zeros(0)

    def run(self, blocks: Callable[[gs.Graph], Sequence[Block]]) -> list[ReconstructedBlock]:
        """Reconstruct the `blocks` of a graph in order; each reads what those before it give.

        They learn in a copy, of which the graph takes what is kept.
        """
        graph, samples = clone(self._context.graph), self._learning.samples
        context, feeds = self._context.on(graph), samples.feeds()
        found: list[ReconstructedBlock] = []
        values: list[Values] = []
        errors: list[Array] = []
        real = float_weights(graph, context.view(), self._floats)
        with (
            BlockSamples(samples, samples.inputs, self._outputs) as whole,
            StagedCapture(self._floats, feeds) as floats,
            StagedCapture(graph, feeds, optimized=False) as actual,
        ):
            self._judge_by(whole)
            every = list(blocks(graph))
            for number, block in enumerate(every):

                def tell(fraction: float, note: str, number: int = number) -> None:
                    place = f"block {number + 1} of {len(every)}"
                    context.progress((number + fraction) / len(every), f"{place}, {note}")

                with _LearningBlock(context, block, self._learning, real, number) as student:
                    student.collect(floats, actual)
                    made, learned = student.learn(tell)
                found.append(learned)
                values.append(made)
                write_values(context, made)
                last = errors[-1] if errors else self._errors
                errors.append(whole.errors_of(graph, optimized=False) if made else last)
        return self._kept(found, values, errors)

    def _judge_by(self, whole: BlockSamples) -> None:
        samples = self._learning.samples
        with (
            StagedCapture(self._floats, samples.feeds()) as capture,
            closing(capture.stage(self._outputs)) as wanted,
        ):
            for index, arrays in zip(samples.chunks(), wanted, strict=True):
                whole.append(samples.at(index), arrays)
        self._errors = whole.errors_of(self._context.graph, optimized=False)
        self.before = self.after = float(self._errors.mean())

    def _kept(
        self, found: list[ReconstructedBlock], values: Sequence[Values], errors: Sequence[Array]
    ) -> list[ReconstructedBlock]:
        """Write the values of the first blocks, up to where the outputs are best with them."""
        gains = [_gain(self._errors, each) for each in errors]
        best = int(self._learning.workers.agreed(int(np.argmax([0.0, *gains]))))
        if best:
            self.after = float(errors[best - 1].mean())
        write_values(self._context, {k: v for each in values[:best] for k, v in each.items()})
        problem = "better by itself, it does not make the outputs better for sure"
        for number in range(best, len(found)):
            left = found[number]
            if left.after < left.before:
                found[number] = replace(left, after=left.before, problem=problem)
        return found


def _gain(before: Array, after: Array) -> float:
    """Return by how much the logarithm of the errors of samples fell, less its standard error.

    Logarithms, as a few samples would decide the mean.
    """
    fall = np.log(np.maximum(before, _LEAST)) - np.log(np.maximum(after, _LEAST))
    doubt = fall.std(ddof=1) / np.sqrt(len(fall)) if len(fall) > 1 else 0.0
    return float(fall.mean() - doubt)


class _LearningBlock:
    """One block while it learns."""

    def __init__(
        self,
        context: Context,
        block: Block,
        learning: Learning,
        real: Mapping[str, Array],
        number: int,
    ) -> None:
        graph, samples = context.graph, learning.samples
        self._block, self._learning, self._real, self._number = block, learning, real, number
        self._part = part_of(graph, block.inputs, block.outputs, infer_types(graph))
        weights = {name for name in constants(self._part) if name}
        self._frozen = weights - read_once(graph, weights, block.nodes)
        limits = limits_of(graph, context.view(), block.outputs)
        self._data = BlockSamples(samples, block.inputs, block.outputs, limits)
        self._clean = BlockSamples(samples, block.inputs, ())

    def __enter__(self) -> _LearningBlock:
        return self

    def __exit__(self, *error: object) -> None:
        self._data.__exit__()
        self._clean.__exit__()

    def collect(self, floats: StagedCapture, actual: StagedCapture) -> None:
        """Keep what the block reads, on integers and as floats, and what it should give."""
        block = self._block
        names = list(dict.fromkeys([*block.inputs, *block.outputs]))
        with (
            closing(actual.stage(block.inputs)) as sources,
            closing(floats.stage(names)) as targets,
        ):
            for given, wanted in zip(sources, targets, strict=True):
                self._learning.interrupts.check()
                self._data.append(given, wanted)
                self._clean.append(wanted, {})

    def learn(self, tell: Callable[[float, str], None]) -> tuple[Values, ReconstructedBlock]:
        """Return the constants that are better than before, and what was reached."""
        from .quantized_block import QuantizedBlock

        learning, name = self._learning, self._block.name
        before = self._data.error_of(self._part, optimized=False)
        example = self._data.given(np.arange(learning.samples.unit))
        try:
            module = QuantizedBlock(
                self._part,
                example,
                self._frozen,
                learning.samples.fixed,
                real=self._real,
                drop=learning.drop,
                learn_rounding=learning.learn_rounding,
                learn_scales=learning.learn_scales,
            )
        except ConversionError as error:
            return {}, ReconstructedBlock(name, before, before, str(error))
        if not before or not module.groups(1.0):
            return {}, ReconstructedBlock(name, before, before)
        recipe = replace(learning.recipe, seed=learning.recipe.seed + _APART * (self._number + 1))
        task = TrainingTask(
            f"block {name}",
            learning.samples.trained,
            lambda call, index, step, place: self._loss(
                module, call, index, step / recipe.total(learning.samples.trained)
            ),
            lambda call: self._evaluation(call, before),
        )
        outcome = fit(module, task, recipe, learning.workers, learning.interrupts, progress=tell)
        values = learning.workers.agreed(module.values())
        set_values(self._part, values)
        after = self._data.error_of(self._part, optimized=False)
        if not after < before:
            return {}, ReconstructedBlock(name, before, before, outcome.problem)
        return values, ReconstructedBlock(name, before, after, outcome.problem)

    def _loss(self, module: Any, call: Any, index: Array, done: float) -> Any:
        with module.learning(done):
            return self._data.loss(call, index, self._learning.workers.device, self._mixed(index))

    def _evaluation(self, call: Any, before: float) -> tuple[float, str]:
        error = self._data.evaluate(call, self._learning.workers.device)
        return error, f"error {before:.3g} -> {error:.3g}"

    def _mixed(self, index: Array) -> Any:
        """Return what the block reads, of which elements are those of the float network at random.

        They are dropped like the rounding within the block.
        """
        import torch

        drop, device = self._learning.drop, self._learning.workers.device
        given = to_tensors(self._data.given(index), device)
        if not drop:
            return given
        clean = to_tensors(self._clean.given(index), device)
        for name, x in given.items():
            if x.is_floating_point():
                given[name] = torch.where(torch.rand_like(x) < drop, clean[name], x)
        return given
