"""Knowledge transfer: what compression has lost is learned again from the graph before it.

    min over W of  task + distill * soft labels + features * inner tensors

W are the weights of the present graph, the student; the graph before compression is the teacher,
whose outputs are the soft labels.

`blocks`: each block whose computation was changed regresses its original's output, from the
closed-form solution of its layers where there is one: minutes. `end-to-end`: the whole network.
Only weights change; masks are held, since a masked weight's gradient is zero.

Sources: Hinton et al., "Distilling the Knowledge in a Neural Network" (2015); Li et al., "BRECQ"
(2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ....ir.core.errors import FeedError
from ....ir.files.given import Model, as_graph
from ....ir.graph.clone import clone
from ....ir.run.given_feeds import require_feeds
from ....ir.run.replay import replayable
from ...engine.context import Context, Feeds
from ...engine.contract import Pass
from ...fusion.inline_fused_operators import inline_fused_operators
from .blocks.cuts import same_computation
from .options import RecoverOptions
from .recovery import Recovery
from .teacher import teacher_of


@dataclass(frozen=True)
class Recover(RecoverOptions, Pass):
    """Train a compressed graph to do again what the graph before compression does.

    - `mode`: `blocks`, each changed block by itself and quickly; `end-to-end`, the whole network;
      or `both` in that order.
    - `teacher`: the file of another teacher than the graph that the pipeline was given.
    - `labels`: the entry of the feeds with the index of each sample's class, or with a map of
      them, [N, H, W], of which negative numbers and 255 are left out.
    - `distill`: weight of the teacher's outputs in the loss.
    - `temperature`: by which the teacher's outputs are softened.
    - `features`: weight of the teacher's inner tensors in the loss.
    - `optimizer`: as in torch.optim.
    - `learning-rate`: `none`: one that fits the optimizer.
    - `weight-decay`: as in torch.optim.
    - `momentum`: as in torch.optim; for sgd.
    - `schedule`: how the learning rate goes.
    - `epochs`: passes over the feeds, for each block or the whole; `none`: 10, unless `steps` are
      given.
    - `steps`: steps of the optimizer, for each block or the whole.
    - `batch`: samples a step; `none`: 32, or an eighth of few samples.
    - `augment`: `flip`, `crop`, `rotate` images, end to end.
    - `batchnorm`: statistics are re-estimated over the feeds, trained with the weights, or kept.
    - `checkpoint`: a file to go on from.
    - `loss`: from Python only: a function of the outputs of student and teacher, by name, and
      labels, in the place of task and distillation.
    """

    name: ClassVar[str] = "recover"
    exact: ClassVar[bool] = False

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
        if not learns_more and same_computation(graph, teacher):
            context.remark(
                "the graph computes what its teacher does; there is nothing to recover", idle=True
            )
            return
        Recovery(self, graph, teacher, context).run(feeds)


def recover(
    student: Model,
    teacher: Model,
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
    graph, teacher = clone(as_graph(student)), as_graph(teacher)
    require_feeds(feeds, graph)
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
