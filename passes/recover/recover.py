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

import dataclasses
import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import onnx_graphsurgeon as gs

from ...ir import dtypes
from ...ir.clone import clone
from ...ir.errors import FeedError, PassError
from ...ir.infer import infer_types
from ...ir.load import load
from ...ir.replay import replayable
from ..context import Context, Feeds
from ..contract import Pass
from ..fusion.inline_fused_operators import inline_fused_operators
from ..registry import nearest
from .augment import Augmentation
from .blockwise import Learned, train_blocks
from .checkpoint import Journal, digest
from .cuts import find_blocks, same, shared_tensors
from .end_to_end import train_end_to_end
from .interrupt import Interrupts
from .judge import Judge, Teacher, Verdict
from .losses import Loss, Objective, activations
from .parts import constants, part_of, write_values
from .recipe import OptimizerName, Recipe, ScheduleName
from .samples import Array, Samples
from .session import BatchNormMode, Session
from .trainable import to_tensors
from .workers import Workers

_RATES: dict[str, float] = {"adam": 1e-3, "adamw": 1e-3, "sgd": 1e-2, "rmsprop": 1e-4}
_EPOCHS = 10
_BATCH = 32
_BATCHES = 8  # of few samples at least so many an epoch


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
        _check(self)

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
        teacher = _teacher(self, graph, context)
        inline_fused_operators(graph, context)
        learns_more = self.mode != "blocks" and (self.labels is not None or self.loss is not None)
        if not learns_more and same(graph, teacher):
            context.remark("the graph computes what its teacher does; there is nothing to recover")
            return
        _Recovery(self, graph, teacher, context).run(feeds)


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


class _Recovery:
    """One run of the pass."""

    def __init__(
        self, options: Recover, graph: gs.Graph, teacher: gs.Graph, context: Context
    ) -> None:
        self._options, self._graph, self._context = options, graph, context
        self._teacher = teacher
        types = infer_types(graph)
        outputs = [
            t.name
            for t in graph.outputs
            if (known := types.of(t)) is not None and dtypes.is_float(known.dtype)
        ]
        if not outputs:
            raise PassError(
                "no output of the graph is known to hold floats, so there is nothing to learn from "
                "its teacher; make the model put out scores instead of classes"
            )
        self._shared = shared_tensors(graph, teacher)
        self._blocks = find_blocks(graph, teacher, self._shared)
        inner = [n for b in self._blocks for n in b.outputs if n in self._shared]
        self._objective = Objective(
            tuple(outputs),
            activations(teacher, outputs),
            tuple(dict.fromkeys(n for n in inner if n not in outputs)),
            options.distill,
            options.temperature,
            options.features,
            options.loss,
        )

    def run(self, feeds: Feeds) -> None:
        """Train, and tell what came of it."""
        options, context = self._options, self._context
        started = time.perf_counter()
        extra = options.extra_feeds()
        before_weights = {
            n: t.values for n, t in constants(self._graph).items() if dtypes.is_float(t.dtype)
        }
        with (
            Samples(self._graph, feeds, extra, context.seed) as samples,
            Interrupts() as interrupts,
        ):
            workers = Workers()
            theirs = part_of(
                self._teacher, samples.inputs, self._judged(), infer_types(self._teacher)
            )
            with closing(Teacher(theirs, samples, samples.held_out)) as teacher:
                labels = self._labels(samples, teacher)
                judge = Judge(samples, teacher, self._objective, labels)
                before = judge.of_graph(self._widened())
                journal = self._journal(samples, workers)
                session = Session(
                    self._graph,
                    self._teacher,
                    context.edit(),
                    context,
                    samples,
                    labels,
                    self._objective,
                    self._recipe(samples.trained),
                    options.augment,
                    options.batchnorm,
                    workers,
                    interrupts,
                    journal,
                )
                try:
                    self._train(session)
                except KeyboardInterrupt:
                    journal.say_how_to_go_on()
                    raise
                after = judge.of_graph(self._widened())
                if not workers.agreed(after.loss <= before.loss):
                    context.remark(
                        f"loss {before.loss:.4g} would have become {after.loss:.4g}; all weights "
                        "were put back, give more samples or a lower learning-rate"
                    )
                    write_values(self._graph, session.edit, before_weights)
                    after = before
                elif journal.resumed:
                    context.remark(f"went on from the checkpoint '{options.checkpoint}'")
        held = len(samples.held_out)
        context.remark(_summary(before, after, held, samples, time.perf_counter() - started))

    def _train(self, session: Session) -> None:
        mode, progress = self._options.mode, self._context.progress
        changed = [block for block in self._blocks if block.changed]
        if mode != "end-to-end" and len(self._blocks) == 1:
            self._context.remark(
                "student and teacher share no tensors inside, by name and shape, so that the whole "
                "network is one block: it was trained end to end"
            )
            mode = "end-to-end"
        share = 0.5 if mode == "both" else 1.0
        if mode != "end-to-end":
            if self._options.augment and mode == "blocks":
                self._context.remark("augment has no effect block by block")
            learned = train_blocks(
                session, changed, self._shared, lambda part, note: progress(share * part, note)
            )
            self._tell(learned)
        if mode != "blocks":
            first = 1 - share
            problem = train_end_to_end(
                session, lambda part, note: progress(first + (1 - first) * part, note)
            )
            if problem:
                self._context.remark(problem)

    def _tell(self, learned: list[Learned]) -> None:
        for found in learned:
            if found.problem:
                self._context.remark(f"block {found.name}: {found.problem}")
        idle = [b.name for b in learned if b.before > 1e-9 and not b.after < b.before]
        if idle:
            self._context.remark(f"no better than before: {', '.join(idle)}")

    def _recipe(self, trained: int) -> Recipe:
        options = self._options
        rate = options.learning_rate
        if rate is None:
            rate = _RATES[options.optimizer]
        return Recipe(
            options.optimizer,
            options.schedule,
            rate,
            options.weight_decay,
            options.momentum,
            options.batch or max(1, min(_BATCH, trained // _BATCHES)),
            options.epochs or _EPOCHS,
            options.steps,
            self._context.seed,
        )

    def _judged(self) -> list[str]:
        weighed = self._objective.features if self._options.features else ()
        return [*self._objective.outputs, *weighed]

    def _widened(self) -> gs.Graph:
        inputs = [t.name for t in self._graph.inputs if not isinstance(t, gs.Constant)]
        return part_of(self._graph, inputs, self._judged(), infer_types(self._graph))

    def _labels(self, samples: Samples, teacher: Teacher) -> Array | None:
        name = self._options.labels
        if name is None:
            return None
        everything = samples.at(np.arange(len(samples.order)), [name])[name]
        outputs = to_tensors(teacher.at(samples.held_out[: samples.unit]))
        found = self._objective.check_labels(everything, outputs, name)
        assert isinstance(found, np.ndarray)
        return found

    def _journal(self, samples: Samples, workers: Workers) -> Journal:
        options = self._options
        identity: dict[str, str] = {}
        if options.checkpoint is not None and workers.is_main:
            _check_folder(options.checkpoint)
            identity = {
                "graph": digest(self._graph),
                "teacher": digest(self._teacher),
                "feeds": samples.digest(),
                "seed": str(self._context.seed),
                "processes": str(workers.count),
            }
            for f in dataclasses.fields(options):
                if f.name not in ("checkpoint", "teacher"):
                    value = getattr(options, f.name)
                    shown = getattr(value, "__qualname__", None) or repr(value)
                    identity[f.name.replace("_", "-")] = shown
        return Journal(options.checkpoint, identity, workers)


def _summary(before: Verdict, after: Verdict, held: int, samples: Samples, seconds: float) -> str:
    parts = []
    for what, was, now in (
        ("agreement", before.agreement, after.agreement),
        ("accuracy", before.accuracy, after.accuracy),
    ):
        if was is not None and now is not None:
            parts.append(f"{what} {100 * was:.1f} -> {100 * now:.1f} %")
    parts.append(f"loss {before.loss:.4g} -> {after.loss:.4g}")
    where = (
        f"on {held} samples not trained on"
        if samples.trained < len(samples.order)
        else "on the only samples, which were trained on"
    )
    return f"{', '.join(parts)}, {where}; {seconds:.0f} s"


def _teacher(options: Recover, graph: gs.Graph, context: Context) -> gs.Graph:
    """Return the teacher, with plain operators, checked against the student."""
    if options.teacher is not None:
        found = load(options.teacher)
    elif context.original is not None:
        found = clone(context.original)
    else:
        raise PassError("there is no graph from before compression; name one with teacher=path")
    inline_fused_operators(found, context.on(found))
    for kind, mine, theirs in (
        ("inputs", graph.inputs, found.inputs),
        ("outputs", graph.outputs, found.outputs),
    ):
        ours = [_port(t) for t in mine if not isinstance(t, gs.Constant)]
        others = [_port(t) for t in theirs if not isinstance(t, gs.Constant)]
        if [p[:2] for p in ours] != [p[:2] for p in others]:
            raise PassError(
                f"the teacher's {kind} are {_show(others)}, the student's {_show(ours)}; a teacher "
                "must take and give what its student does"
            )
    return found


def _port(tensor: gs.Tensor) -> tuple[str, str]:
    return tensor.name, "?" if tensor.dtype is None else dtypes.type_name(tensor.dtype)


def _show(ports: list[tuple[str, str]]) -> str:
    return ", ".join(f"'{name}' ({kind})" for name, kind in ports) or "none"


def _check_folder(path: str) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder) or os.path.isdir(path):
        raise PassError(f"checkpoint '{path}' is no file in an existing folder; name one that is")


def _check(options: Recover) -> None:
    """Raise PassError naming an option that is out of range, with what is allowed."""
    names = {
        "mode": ("blocks", "end-to-end", "both"),
        "optimizer": get_args(OptimizerName),
        "schedule": get_args(ScheduleName),
        "batchnorm": get_args(BatchNormMode),
    }
    for name, allowed in names.items():
        value = getattr(options, name)
        if value not in allowed:
            raise PassError(
                f"{name} is '{value}'{nearest(str(value), allowed)}; give one of "
                f"{', '.join(allowed)}"
            )
    for kind in options.augment:
        if kind not in get_args(Augmentation):
            raise PassError(
                f"augment names '{kind}'{nearest(kind, get_args(Augmentation))}; give any of "
                f"{', '.join(get_args(Augmentation))}"
            )
    least = {"distill": 0, "features": 0, "weight_decay": 0}
    for name, low in least.items():
        value = getattr(options, name)
        if not low <= value < float("inf"):
            raise PassError(f"{_option(name)} is {value}; give a number from {low} on")
    for name in ("temperature", "learning_rate"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            raise PassError(f"{_option(name)} is {value}; give a number above 0")
    if not 0 <= options.momentum < 1:
        raise PassError(f"momentum is {options.momentum}; give a number from 0 to below 1")
    for name in ("epochs", "steps", "batch"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise PassError(f"{name} is {value}; give a whole number from 1 on")
    if options.epochs is not None and options.steps is not None:
        raise PassError(
            f"epochs is {options.epochs} and steps is {options.steps}; give one of them"
        )
    if not (options.distill or options.features or options.labels or options.loss):
        raise PassError("distill and features are 0 and there are no labels: nothing to learn from")


def _option(name: str) -> str:
    return name.replace("_", "-")
