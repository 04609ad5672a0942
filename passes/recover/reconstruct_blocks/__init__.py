"""Blocks on integers that give what they gave as floats: rounding, ranges and biases together.

    min over h, a, b of  E |y - f(x^; s (q + round(h)), s0 exp(a), b)|^2           -1 <= h <= 1

f is what a block of the quantized network computes, y what the float network gives there, and x^
what the block reads once those before it have learned. h moves the integers q of weights by at most
one, a the steps s0 of activations, and with them the range that is not clipped. Errors of layers
may cancel within a block, and count as far as they come through its activations, which rounding
layer by layer does not know.

In a step of learning, elements of activations and of x^ are dropped at random: not rounded, or as
the float network has them. What is learned so holds for other samples as well, of which few are
enough. A block is kept where that helps on samples held back, by itself and at the outputs.

Sources: Li et al., "BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction"
(2021); Wei et al., "QDrop" (2022); Esser et al., "Learned Step Size Quantization" (2020).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.errors import FeedError, RefusedError
from ....ir.ops.quantization.nodes import DEQUANTIZE, QUANTIZE
from ....ir.ops.shapes.infer import infer_types
from ...engine.context import Context
from ...engine.contract import Pass
from ...engine.fingerprint import fingerprint
from ..recover.blocks.cuts import Block, find_blocks, same_computation, shared_tensors
from ..recover.subgraph import sample_axes
from ..recover.teacher import teacher_of
from ..recover.training.interrupt import Interrupts
from ..recover.training.recipe import TrainingRecipe
from ..recover.training.samples import Samples
from ..recover.training.workers import Workers
from .reconstruction import BlockReconstruction, Learning, ReconstructedBlock

# One of so many samples judges, or of so many batches where the graph fixes their size.
_HELD_BACK = 4
# Fewer than four that judge know no standard error of their own.
_LEAST_SAMPLES = 4 * _HELD_BACK


@dataclass(frozen=True, kw_only=True)
class ReconstructBlocks(Pass):
    """Learn weights' rounding, biases and ranges of activations of a quantized graph by blocks.

    Stands behind `quantize`, whose float network is the one to follow. It learns from 16 samples at
    least, of which one in four judges.

    - `steps`: of the optimizer, for each block.
    - `batch`: samples a step.
    - `learning-rate`: steps of weights a step; ranges and biases move by a tenth of it, in parts of
      themselves.
    - `drop`: the probability, 0 to 1, that an activation is not rounded in a step of learning.
    - `learn-rounding`: of weights; otherwise biases and ranges alone learn.
    - `learn-scales`: also the ranges of activations.
    - `teacher`: the file of the float network, for a graph that was quantized elsewhere.
    """

    name: ClassVar[str] = "reconstruct-blocks"
    exact: ClassVar[bool] = False

    steps: int = 200
    batch: int = 8
    learning_rate: float = 0.02
    drop: float = 0.5
    learn_rounding: bool = True
    learn_scales: bool = True
    teacher: str | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise RefusedError(
                    f"{name} is {getattr(self, name)}; give a whole number from 1 on"
                )
        if not 0 < self.learning_rate < float("inf"):
            raise RefusedError(f"learning-rate is {self.learning_rate}; give a number above 0")
        if not 0 <= self.drop <= 1:
            raise RefusedError(f"drop is {self.drop}; give a probability, 0 to 1")

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Reconstruct the blocks of a quantized graph in order."""
        if not _is_quantized(graph):
            context.remark(
                "no layer is on integers, so there is nothing to reconstruct; it stands behind "
                "quantize",
                idle=True,
            )
            return
        if context.feeds is None:
            raise FeedError(
                "reconstruct-blocks learns from real samples, and no feeds were given; give some "
                "dozens without labels (--feeds, or feeds=)"
            )
        floats = self._float_network(graph, context)
        if same_computation(graph, floats):
            context.remark(self._unknown(), idle=True)
            return
        if self.teacher is not None and _is_quantized(floats):
            context.remark(
                f"the teacher {self.teacher} is quantized itself; it is followed as it is"
            )
        if context.float_layers.reconstructed == fingerprint(graph):
            context.remark("the blocks of this graph have been reconstructed already", idle=True)
            return
        self._reconstruct(graph, context, floats)
        context.float_layers.reconstructed = fingerprint(graph)

    def _float_network(self, graph: gs.Graph, context: Context) -> gs.Graph:
        known = context.float_layers.network
        if self.teacher is None and known is not None:
            return known
        return teacher_of(self.teacher, graph, context)

    def _unknown(self) -> str:
        if self.teacher is not None:
            return (
                f"the teacher {self.teacher} is this quantized graph itself; name the file of the "
                "float network that it was made of"
            )
        return (
            "the float network is not known, as the graph was quantized before this run; name its "
            "file with teacher=path"
        )

    def _reconstruct(self, graph: gs.Graph, context: Context, floats: gs.Graph) -> None:
        assert context.feeds is not None
        started = time.perf_counter()
        outputs = _float_outputs(graph)
        with (
            Samples(graph, context.feeds, (), context.seed, share=_HELD_BACK) as samples,
            Interrupts() as interrupts,
        ):
            whole = samples.count // samples.unit * samples.unit
            least = max(_LEAST_SAMPLES, _HELD_BACK * samples.unit)
            if whole < least:
                context.remark(
                    f"{whole} of {least} samples at least: nothing was learned, as the one in "
                    f"{_HELD_BACK} held back are too few to judge it",
                    idle=True,
                )
                return
            learning = Learning(
                samples=samples,
                recipe=self._recipe(context.seed),
                drop=self.drop,
                learn_rounding=self.learn_rounding,
                learn_scales=self.learn_scales,
                workers=Workers(),
                interrupts=interrupts,
            )
            run = BlockReconstruction(context, floats, learning, outputs)
            found = run.run(lambda copy: _blocks(copy, floats, outputs))
            held = len(samples.held_out)
        _tell(context, found, run, held, time.perf_counter() - started)

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


def _is_quantized(graph: gs.Graph) -> bool:
    return any(node.op in (QUANTIZE, DEQUANTIZE) for node in graph.nodes)


def _blocks(graph: gs.Graph, floats: gs.Graph, outputs: Sequence[str]) -> list[Block]:
    """Return the blocks of `graph` that integers changed, whose outputs can be compared."""
    blocks = find_blocks(graph, floats, shared_tensors(graph, floats))
    others = {tensor.name for tensor in graph.outputs} - set(outputs)
    return [block for block in blocks if block.changed and not others & set(block.outputs)]


def _float_outputs(graph: gs.Graph) -> list[str]:
    """Return the outputs of floats whose samples lie along the first axis."""
    types = infer_types(graph)
    apart = sample_axes(graph, [tensor.name for tensor in graph.outputs], types)
    found = [
        tensor.name
        for tensor in graph.outputs
        if (known := types.of(tensor)) is not None
        and dtypes.is_float(known.dtype)
        and tensor.name not in apart
    ]
    if not found:
        raise RefusedError(
            "no output of the graph is known to hold floats, samples along the first axis, so that "
            "nothing says what is better"
        )
    return found


def _tell(
    context: Context,
    found: Sequence[ReconstructedBlock],
    run: BlockReconstruction,
    held: int,
    seconds: float,
) -> None:
    for block in found:
        if block.problem:
            context.remark(f"block {block.name}: {block.problem}")
    better = sum(block.after < block.before for block in found)
    context.remark(
        f"{better} of {len(found)} blocks better; error of the outputs {run.before:.3g} -> "
        f"{run.after:.3g} of their variance, on {held} samples not learned from; {seconds:.0f} s"
    )
