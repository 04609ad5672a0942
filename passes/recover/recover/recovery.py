"""One run of `recover`: what is trained, on what, against whom, and what came of it."""

from __future__ import annotations

import dataclasses
import os
import time
from contextlib import closing

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.errors import RefusedError
from ....ir.metrics.reading import read_outputs
from ....ir.ops.shapes.infer import infer_types
from ...engine.context import Context, Feeds
from .blocks.block_training import TrainedBlock, train_blocks
from .blocks.cuts import find_blocks, shared_tensors
from .options import RecoverOptions
from .subgraph import sample_axes, samples_first_part
from .training.checkpoint import TrainingJournal, digest
from .training.end_to_end import train_end_to_end
from .training.evaluator import Evaluation, RecordedTeacher, StudentEvaluator
from .training.interrupt import Interrupts
from .training.losses import DistillationObjective, activations
from .training.recipe import TrainingRecipe
from .training.sample_store import Array
from .training.samples import Samples
from .training.session import TrainingSession
from .training.trainable import to_tensors
from .training.workers import Workers
from .weights import constants, write_values

_RATES: dict[str, float] = {"adam": 1e-3, "adamw": 1e-3, "sgd": 1e-2, "rmsprop": 1e-4}
_EPOCHS = 10
_BATCH = 32
_BATCHES = 8  # of few samples at least so many an epoch


class Recovery:
    """One run of the pass."""

    def __init__(
        self, options: RecoverOptions, graph: gs.Graph, teacher: gs.Graph, context: Context
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
            raise RefusedError(
                "no output of the graph is known to hold floats, so there is nothing to learn from "
                "its teacher; make the model put out scores instead of classes"
            )
        self._shared = shared_tensors(graph, teacher)
        self._blocks = find_blocks(graph, teacher, self._shared)
        inner = [n for b in self._blocks for n in b.outputs if n in self._shared]
        self._objective = DistillationObjective(
            outputs=tuple(outputs),
            activations=activations(teacher, outputs),
            features=tuple(dict.fromkeys(n for n in inner if n not in outputs)),
            distill=options.distill,
            temperature=options.temperature,
            feature_weight=options.features,
            loss=options.loss,
            class_axes=_class_axes(teacher),
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
            theirs = samples_first_part(
                self._teacher, samples.inputs, self._evaluated(), infer_types(self._teacher)
            )
            with closing(RecordedTeacher(theirs, samples, samples.held_out)) as teacher:
                labels = self._labels(samples, teacher)
                evaluator = StudentEvaluator(samples, teacher, self._objective, labels)
                before = evaluator.of_graph(self._widened())
                journal = self._journal(samples, workers)
                session = TrainingSession(
                    graph=self._graph,
                    teacher=self._teacher,
                    context=context,
                    samples=samples,
                    labels=labels,
                    objective=self._objective,
                    recipe=self._recipe(samples.trained),
                    augment=options.augment,
                    batchnorm=options.batchnorm,
                    workers=workers,
                    interrupts=interrupts,
                    journal=journal,
                )
                try:
                    self._train(session)
                except KeyboardInterrupt:
                    journal.say_how_to_go_on()
                    raise
                after = evaluator.of_graph(self._widened())
                if not workers.agreed(after.loss <= before.loss):
                    context.remark(
                        f"loss {before.loss:.4g} would have become {after.loss:.4g}; all weights "
                        "were put back, give more samples or a lower learning-rate"
                    )
                    write_values(context, before_weights)
                    after = before
                elif journal.resumed:
                    context.remark(f"went on from the checkpoint '{options.checkpoint}'")
        held = len(samples.held_out)
        context.remark(_summary(before, after, held, samples, time.perf_counter() - started))

    def _train(self, session: TrainingSession) -> None:
        mode, progress = self._options.mode, self._context.progress
        apart = sample_axes(self._graph, self._objective.outputs, infer_types(self._graph))
        changed = [b for b in self._blocks if b.changed and not apart.keys() & set(b.outputs)]
        if apart and mode != "end-to-end":
            self._context.remark(
                f"samples of {', '.join(map(repr, sorted(apart)))} do not lie along the first "
                "axis: what makes them learns end to end alone"
            )
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

    def _tell(self, learned: list[TrainedBlock]) -> None:
        for found in learned:
            if found.problem:
                self._context.remark(f"block {found.name}: {found.problem}")
        idle = [b.name for b in learned if b.before > 1e-9 and not b.after < b.before]
        if idle:
            self._context.remark(f"no better than before: {', '.join(idle)}")

    def _recipe(self, trained: int) -> TrainingRecipe:
        options = self._options
        rate = options.learning_rate
        if rate is None:
            rate = _RATES[options.optimizer]
        return TrainingRecipe(
            optimizer=options.optimizer,
            schedule=options.schedule,
            learning_rate=rate,
            weight_decay=options.weight_decay,
            momentum=options.momentum,
            batch=options.batch or max(1, min(_BATCH, trained // _BATCHES)),
            epochs=options.epochs or _EPOCHS,
            steps=options.steps,
            seed=self._context.seed,
        )

    def _evaluated(self) -> list[str]:
        weighed = self._objective.features if self._options.features else ()
        return [*self._objective.outputs, *weighed]

    def _widened(self) -> gs.Graph:
        inputs = [t.name for t in self._graph.inputs if not isinstance(t, gs.Constant)]
        return samples_first_part(self._graph, inputs, self._evaluated(), infer_types(self._graph))

    def _labels(self, samples: Samples, teacher: RecordedTeacher) -> Array | None:
        name = self._options.labels
        if name is None:
            return None
        everything = samples.at(np.arange(len(samples.order)), [name])[name]
        outputs = to_tensors(teacher.at(samples.held_out[: samples.unit]))
        found = self._objective.check_labels(everything, outputs, name)
        assert isinstance(found, np.ndarray)
        return found

    def _journal(self, samples: Samples, workers: Workers) -> TrainingJournal:
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
        return TrainingJournal(options.checkpoint, identity, workers)


def _summary(
    before: Evaluation, after: Evaluation, held: int, samples: Samples, seconds: float
) -> str:
    parts = []
    for what, was, now in (
        ("top-1 agreement", before.agreement, after.agreement),
        ("accuracy", before.accuracy, after.accuracy),
    ):
        if was is not None and now is not None:
            parts.append(f"{what} {after.of} {100 * was:.1f} -> {100 * now:.1f} %")
    parts.append(f"loss {before.loss:.4g} -> {after.loss:.4g}")
    where = (
        f"on {held} samples not trained on"
        if samples.trained < len(samples.order)
        else "on the only samples, which were trained on"
    )
    return f"{', '.join(parts)}, {where}; {seconds:.0f} s"


def _class_axes(graph: gs.Graph) -> dict[str, int]:
    """Return the axis of the classes of each output that has several, its samples put first."""
    found = {}
    samples = sample_axes(graph, [tensor.name for tensor in graph.outputs], infer_types(graph))
    for name, reading in read_outputs(graph).items():
        axis, shape = reading.class_axis, reading.shape
        if axis is not None and shape is not None and shape[axis] != 1:
            moved = name in samples and axis % len(shape) < samples[name]
            found[name] = axis % len(shape) + int(moved)
    return found


def _check_folder(path: str) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder) or os.path.isdir(path):
        raise RefusedError(
            f"checkpoint '{path}' is no file in an existing folder; name one that is"
        )
