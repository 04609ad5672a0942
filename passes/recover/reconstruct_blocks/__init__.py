"""Blocks on integers that give what they gave as floats: rounding and steps learned together.

    min over h, a, b of  E |y - f(x~; s clip(q + h), s0 exp(a), b)|^2 / E |y|^2

f is a block between two cuts of the quantized network, y what the float network gives there, x~
what the block reads on integers. Errors of layers may cancel within a block, which rounding layer
by layer cannot know. While learning, elements of activations stay unrounded at random.

Sources: Li et al., "BRECQ" (2021); Wei et al., "QDrop" (2022); Esser et al., "Learned Step Size
Quantization" (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ....ir.core.errors import FeedError
from ...engine.context import Context
from ...engine.contract import Pass
from ..recover.blocks.cuts import find_blocks, shared_tensors
from ..recover.teacher import teacher_of
from ..recover.training.interrupt import Interrupts
from ..recover.training.recipe import TrainingRecipe
from ..recover.training.samples import Samples
from ..recover.training.workers import Workers
from .reconstruction import Reconstruction


@dataclass(frozen=True, kw_only=True)
class ReconstructBlocks(Pass):
    """Learn the rounding of weights, biases and ranges of activations, block by block.

    - `steps`: of the optimizer, for each block.
    - `batch`: samples a step.
    - `learning-rate`: of the rounding; ranges and biases have a tenth of it.
    - `drop`: the probability that an activation is not rounded in a step of learning.
    - `learn-scales`: also the ranges of activations.
    - `teacher`: the file of the float network; `none`: the one that this run quantized.
    """

    name: ClassVar[str] = "reconstruct-blocks"
    exact: ClassVar[bool] = False

    steps: int = 200
    batch: int = 8
    learning_rate: float = 0.02
    drop: float = 0.5
    learn_scales: bool = True
    teacher: str | None = None

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Reconstruct the blocks of a quantized graph in order."""
        if context.feeds is None:
            raise FeedError("reconstruct-blocks learns from real samples, and no feeds were given")
        network = context.float_layers.network
        if self.teacher is None and network is not None:
            teacher = network
        else:
            teacher = teacher_of(self.teacher, graph, context)
        shared = shared_tensors(graph, teacher)
        blocks = [b for b in find_blocks(graph, teacher, shared) if b.changed]
        with (
            Samples(graph, context.feeds, (), context.seed) as samples,
            Interrupts() as interrupts,
        ):
            found = Reconstruction(
                context=context,
                teacher=teacher,
                samples=samples,
                recipe=self._recipe(context.seed),
                drop=self.drop,
                learn_scales=self.learn_scales,
                workers=Workers(),
                interrupts=interrupts,
            ).run(blocks)
        for each in found:
            context.remark(f"{each.name}: {each.before:.3g} -> {each.after:.3g} {each.problem}")

    def _recipe(self, seed: int) -> TrainingRecipe:
        return TrainingRecipe(
            optimizer="adam",
            schedule="cosine",
            learning_rate=self.learning_rate,
            weight_decay=0.0,
            momentum=0.9,
            batch=self.batch,
            epochs=1,
            steps=self.steps,
            seed=seed,
        )
