"""Knowledge transfer: what compression has lost is learned again from the graph before it.

    teacher: the graph before compression      student: the present one
    min over the student's weights of  task + distill * soft labels + features * inner tensors

`blocks`: each block whose computation was changed regresses its original's output (`blockwise`),
from the closed-form solution of its layers where there is one (`closed_form`): minutes.
`end-to-end`: the whole network (`end_to_end`). Only weights change; masks are held, since a masked
weight's gradient is zero.

Sources: Hinton et al., "Distilling the Knowledge in a Neural Network" (2015); Li et al., "BRECQ"
(2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import onnx_graphsurgeon as gs

from ...ir.core.errors import FeedError
from ...ir.graph.clone import clone
from ...ir.run.replay import replayable
from ..engine.context import Context, Feeds
from ..engine.contract import Pass
from ..fusion.inline_fused_operators import inline_fused_operators
from .blocks.cuts import same
from .options import check_options
from .recovery import Recovery
from .teacher import teacher_of
from .training.augment import Augmentation
from .training.losses import Loss
from .training.recipe import OptimizerName, ScheduleName
from .training.session import BatchNormMode


@dataclass(frozen=True)
class Recover(Pass):
    """Train a compressed graph to do again what the graph before compression does.

    `mode`: `blocks`, each changed block by itself and quickly; `end-to-end`; or `both` in that
    order. `teacher`: the file of another teacher than the graph that the pipeline was given.
    `labels`: the entry of the feeds with the index of each sample's class. `distill`,
    `temperature`: weight and softening of the teacher's outputs; `features`: weight of its inner
    tensors. `optimizer`, `learning_rate` (none: one that fits it), `weight_decay`, `momentum`,
    `schedule`: as in torch.optim. `epochs` over the feeds (10), or `steps`, for each block or the
    whole; `batch`: samples a step (none: 32, or an eighth of few samples). `augment`: `flip`,
    `crop`, `rotate` images, end to end. `batchnorm`: statistics re-estimated over the feeds,
    trained with the weights, or kept. `checkpoint`: a file to go on from. `loss` (from Python): a
    function of the outputs of student and teacher, by name, and labels, in the place of task and
    distillation.
    """

    name: ClassVar[str] = "recover"
    exact: ClassVar[bool] = False

    mode: Literal["blocks", "end-to-end", "both"] = "blocks"
    teacher: str | None = None
    labels: str | None = None
    distill: float = 1.0
    temperature: float = 4.0
    features: float = 0.0
    optimizer: OptimizerName = "adam"
    learning_rate: float | None = None
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: ScheduleName = "cosine"
    epochs: int | None = None
    steps: int | None = None
    batch: int | None = None
    augment: tuple[Augmentation, ...] = ()
    batchnorm: BatchNormMode = "reestimate"
    checkpoint: str | None = None
    loss: Loss | None = None

    def __post_init__(self) -> None:
        check_options(self)

    def extra_feeds(self) -> tuple[str, ...]:
        """Return the entry of the feeds that has the labels."""
        return () if self.labels is None else (self.labels,)

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Train what differs from the teacher."""
        feeds = context.feeds if self.labels is None else context.labelled
        if feeds is None:
            raise FeedError(
                "recover learns from real samples, and no feeds were given; give some hundred "
                "without labels (--feeds, or feeds=), nothing is learned from random numbers"
            )
        teacher = teacher_of(self.teacher, graph, context)
        inline_fused_operators(graph, context)
        learns_more = self.mode != "blocks" and (self.labels is not None or self.loss is not None)
        if not learns_more and same(graph, teacher):
            context.remark("the graph computes what its teacher does; there is nothing to recover")
            return
        Recovery(self, graph, teacher, context).run(feeds)


def recover(
    student: gs.Graph,
    teacher: gs.Graph,
    feeds: Feeds,
    *,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
    remark: Callable[[str], None] | None = None,
    **options: Any,
) -> gs.Graph:
    """Return `student` with weights trained to do what `teacher` does on `feeds`.

    `options` are those of the pass `Recover`; neither graph is changed. `progress` is told the part
    done and how it goes, `remark` what came of it. Raises PlanishError where it cannot be done.
    """
    item = Recover(**options)
    graph = clone(student)
    with replayable(feeds) as data:
        assert data is not None
        context = Context(graph, seed=seed, original=teacher)
        context.feeds = context.labelled = data
        if progress is not None:
            told = progress
            context.progress = lambda fraction, note="": told(fraction, note)
        item.run(graph, context)
    if remark is not None:
        for text in context.remarks:
            remark(text)
    return graph
