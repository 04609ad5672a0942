"""The whole student learns from the teacher's outputs, and from features on the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.errors import ConversionError, RefusedError
from .....ir.ops.shapes.infer import infer_types
from .....ir.run.reference import Reference
from ..subgraph import samples_first_part
from ..weights import Values, write_values
from .augment import apply_maps, apply_to_labels, check_images, draw_maps
from .batchnorm import reestimate
from .checkpoint import pack, unpack
from .evaluator import RecordedTeacher, StudentEvaluator
from .fit import TrainingTask, fit
from .sample_store import Array
from .session import TrainingSession
from .trainable import Trainable, to_tensors

_STAGE = "end-to-end"


def train_end_to_end(session: TrainingSession, progress: Callable[[float, str], None]) -> str:
    """Train the graph of `session` and write its weights back; return why it stopped early."""
    problem: str
    done = session.journal.result(_STAGE)
    if done is None:
        values, problem = _trained(session, progress)
        values, problem = session.workers.agreed((values, problem))
        session.journal.finish(_STAGE, {"values": pack(values), "problem": problem})
    else:
        values, problem = unpack(done["values"]), str(done["problem"])
    write_values(session.context, values)
    return problem


def _trained(
    session: TrainingSession, progress: Callable[[float, str], None]
) -> tuple[Values, str]:
    samples, objective = session.samples, session.objective
    names = [*objective.outputs, *(objective.features if objective.feature_weight else ())]
    part = samples_first_part(session.graph, samples.inputs, names, infer_types(session.graph))
    theirs = samples_first_part(
        session.teacher, samples.inputs, names, infer_types(session.teacher)
    )
    unit = samples.fixed
    example = samples.at(np.arange(samples.unit))
    if session.augment:
        check_images(example)
    trainable = Trainable(part, example, frozenset(), unit)
    live = bool(session.augment or len(names) > len(objective.outputs))
    index = samples.held_out if live else np.arange(len(samples.order))
    with closing(RecordedTeacher(theirs, samples, index)) as teacher:
        evaluator = StudentEvaluator(samples, teacher, objective, session.labels)
        asked = _LiveTeacher(theirs, session, example) if live else teacher.at
        student = _StudentTraining(session, trainable, asked)
        student.find_unused()
        if not trainable.trains:
            raise RefusedError(
                "the graph has no weight that its outputs depend on: nothing to train"
            )
        state = session.journal.state(_STAGE)
        evaluation = student.evaluation_of(evaluator)
        if session.batchnorm == "reestimate" and state is None:
            student.reestimate(evaluator)
        outcome = fit(
            trainable,
            TrainingTask(
                "the graph", samples.trained, student.loss, evaluation, session.batchnorm == "train"
            ),
            session.recipe,
            session.workers,
            session.interrupts,
            state=state,
            keep=lambda found: session.journal.keep(_STAGE, found),
            keep_on_the_way=True,
            progress=progress,
        )
        if session.batchnorm == "reestimate":
            student.reestimate(evaluator)
    return trainable.values(), outcome.problem


class _StudentTraining:
    """Minibatches for student and teacher."""

    def __init__(
        self, session: TrainingSession, trainable: Trainable, teacher: Callable[[Any], Any]
    ) -> None:
        self._session, self._trainable, self._teacher = session, trainable, teacher
        self._device = session.workers.device

    def loss(self, call: Callable[[Any], Any], index: Array, step: int, place: int) -> Any:
        """Return the loss on the samples at `index`."""
        import torch

        session = self._session
        inputs = to_tensors(session.samples.at(index), self._device)
        labels = None
        if session.labels is not None:
            labels = torch.from_numpy(session.labels[index]).to(self._device)
        if session.augment:
            whole = place + len(index)
            for name, images in inputs.items():
                aspect = images.shape[2] / images.shape[3]
                seed = [session.recipe.seed, 3, step]
                maps = draw_maps(session.augment, whole, seed, aspect)
                inputs[name] = apply_maps(images, maps[place:])
            if labels is not None:
                labels = apply_to_labels(labels, maps[place:])
        wanted = self._teacher(inputs if self._is_live else index)
        return session.objective(call(inputs), to_device(wanted, self._device), labels)

    @property
    def _is_live(self) -> bool:
        return isinstance(self._teacher, _LiveTeacher)

    def find_unused(self) -> None:
        """Leave parameters alone that the loss does not depend on."""
        self._trainable.module.to(self._device)
        index = np.arange(self._session.samples.unit)
        self._trainable.free_unused(lambda: self.loss(self._trainable, index, 0, 0))

    def evaluation_of(self, evaluator: StudentEvaluator) -> Callable[[Any], tuple[float, str]]:
        """Return what `fit` asks on the held-out samples."""

        def ask(call: Callable[[Any], Any]) -> tuple[float, str]:
            found = evaluator.evaluate(lambda arrays: call(to_tensors(arrays, self._device)))
            return found.loss, str(found)

        return ask

    def reestimate(self, evaluator: StudentEvaluator) -> None:
        """Estimate the statistics of normalizations anew; keep them where the loss falls."""
        session, module = self._session, self._trainable.module
        module.to(self._device)
        ask = self.evaluation_of(evaluator)
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        was = ask(self._trainable)[0]
        size = self._trainable.unit or min(session.recipe.batch, session.samples.trained)

        def passes() -> None:
            for start in range(0, session.samples.trained - size + 1, size):
                inputs = session.samples.at(np.arange(start, start + size))
                self._trainable(to_tensors(inputs, self._device))

        if reestimate(module, passes) and session.workers.agreed(ask(self._trainable)[0] >= was):
            module.load_state_dict(before)


class _LiveTeacher:
    """The teacher's tensors for inputs that no file has: varied images, or too many features."""

    def __init__(self, graph: gs.Graph, session: TrainingSession, example: Any) -> None:
        self._unit = session.samples.fixed
        self._run: Reference | None = None
        try:
            self._module = Trainable(graph, example, frozenset(), self._unit)
            self._unit = self._module.unit
            self._module.module.to(session.workers.device)
        except ConversionError:
            self._run = Reference(graph, optimized=True)

    def __call__(self, inputs: Any) -> Any:
        import torch

        count = len(next(iter(inputs.values())))
        size = self._unit or count
        found = []
        for start in range(0, count, size):
            part = {name: x[start : start + size] for name, x in inputs.items()}
            if self._run is not None:
                found.append(to_tensors(self._run({n: x.cpu().numpy() for n, x in part.items()})))
            else:
                with torch.no_grad():
                    found.append(self._module(part))
        return {name: torch.cat([run[name] for run in found]) for name in found[0]}


def to_device(found: Any, device: Any) -> Any:
    """Return arrays or tensors as tensors on `device`."""
    if all(isinstance(value, np.ndarray) for value in found.values()):
        return to_tensors(found, device)
    return {name: tensor.to(device) for name, tensor in found.items()}
