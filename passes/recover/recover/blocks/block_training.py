"""Block after block: each learns to give what its original gave, from what it now gets.

The blocks before have learned already, so that a block makes up for what they have lost. What a
block reads and what it should give is computed once and kept on the disk; memory holds minibatches.

Source: Li et al., "BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction"
(2021), blocks as the unit of regression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.errors import ConversionError
from .....ir.graph.types import Types
from .....ir.ops.shapes.infer import infer_types
from ....analysis.observe.capture import Arrays
from ....analysis.observe.staged_capture import StagedCapture
from ..subgraph import part_of, read_once
from ..training.batchnorm import reestimate
from ..training.checkpoint import pack, unpack
from ..training.fit import TrainingTask, fit
from ..training.session import TrainingSession
from ..training.trainable import Trainable, to_tensors
from ..weights import Array, Values, constants, set_values, write_values
from .block_samples import BlockSamples
from .closed_form import LayerSolver, TeacherOutputs
from .cuts import Block

# Below this part of the target's variance there is nothing to bring back but rounding.
_NOTHING = 1e-9


@dataclass(frozen=True)
class TrainedBlock:
    """What became of a block: its error over its target's variance, and why it stopped early."""

    name: str
    before: float
    after: float
    problem: str = ""


def train_blocks(
    session: TrainingSession,
    blocks: Sequence[Block],
    shared: frozenset[str],
    progress: Callable[[float, str], None],
) -> list[TrainedBlock]:
    """Train the changed ones of `blocks` in order, and write their weights back."""
    changed = [block for block in blocks if block.changed]
    types = infer_types(session.graph)
    learned = []
    with (
        StagedCapture(session.teacher, session.samples.feeds()) as theirs,
        StagedCapture(session.graph, session.samples.feeds()) as mine,
    ):
        for number, block in enumerate(changed):
            stage = f"block {number + 1}"
            done = session.journal.result(stage)
            if done is None:

                def tell(fraction: float, note: str, number: int = number) -> None:
                    place = f"block {number + 1} of {len(changed)}"
                    progress((number + fraction) / len(changed), f"{place}, {note}")

                with _StudentBlock(session, block, shared, types, number) as student:
                    student.collect(theirs, mine)
                    values, found = session.workers.agreed(student.learn(stage, tell))
                done = {"values": pack(values), "learned": list(_fields(found))}
                session.journal.finish(stage, done)
            write_values(session.context, unpack(done["values"]))
            learned.append(TrainedBlock(*done["learned"]))
    return learned


def _fields(found: TrainedBlock) -> tuple[Any, ...]:
    return found.name, found.before, found.after, found.problem


class _StudentBlock:
    """One block while it learns."""

    def __init__(
        self,
        session: TrainingSession,
        block: Block,
        shared: frozenset[str],
        types: Types,
        number: int,
    ) -> None:
        self._session, self._block, self._number = session, block, number
        self._part = part_of(session.graph, block.inputs, block.outputs, types)
        weights = {name for name in constants(self._part) if name}
        makers = {t.name for n in session.graph.nodes if n.op == "Constant" for t in n.outputs}
        own = read_once(session.graph, weights | makers, block.nodes)
        defaults = {t.name for t in session.graph.inputs if isinstance(t, gs.Constant)}
        self._frozen = (weights | makers) - own | defaults
        self._solver = LayerSolver(self._part, shared, self._frozen, session.context)
        self._data = BlockSamples(session.samples, block.inputs, block.outputs)
        self._seen: list[list[TeacherOutputs]] = []

    def __enter__(self) -> _StudentBlock:
        return self

    def __exit__(self, *error: object) -> None:
        self._data.__exit__()

    def collect(self, theirs: StagedCapture, mine: StagedCapture) -> None:
        """Keep what the block reads and should give, of every sample."""
        session, block = self._session, self._block
        results = [each.layer.result.name for each in self._solver.layers]
        chunks = session.samples.chunks()
        names = list(dict.fromkeys([*block.outputs, *results]))
        with (
            closing(mine.stage(block.inputs)) as sources,
            closing(theirs.stage(names)) as targets,
        ):
            for place, (given, wanted) in enumerate(zip(sources, targets, strict=True)):
                session.interrupts.check()
                self._data.append(given, wanted)
                if chunks[place][-1] < session.samples.trained:
                    seed = [session.recipe.seed, 4, self._number, place]
                    self._seen.append(self._solver.look(wanted, len(chunks), seed))

    def learn(
        self, stage: str, progress: Callable[[float, str], None]
    ) -> tuple[Values, TrainedBlock]:
        """Return the constants that are better than before, and what was reached."""
        session, name = self._session, self._block.name
        before = self._data.error_of(self._part)
        if before <= _NOTHING:
            return {}, TrainedBlock(name, before, before)
        values = self._solver.solve(self._feeds, self._seen, self._data.error_of)
        set_values(self._part, values)
        example = self._data.given(np.arange(session.samples.unit))
        try:
            trainable = Trainable(self._part, example, self._frozen, session.samples.fixed)
        except ConversionError as error:
            return values, TrainedBlock(name, before, self._data.error_of(self._part), str(error))
        index = np.arange(session.samples.unit)
        trainable.module.to(session.workers.device)
        trainable.free_unused(lambda: self._loss(trainable, index))
        state = session.journal.state(stage)
        if session.batchnorm == "reestimate" and state is None:
            self._reestimate(trainable)
        if not trainable.trains:
            return values | trainable.values(), TrainedBlock(
                name, before, self._evaluate(trainable)
            )
        outcome = fit(
            trainable,
            TrainingTask(
                f"block {name}",
                session.samples.trained,
                lambda call, index, step, place: self._loss(call, index),
                lambda call: (
                    (error := self._evaluate(call)),
                    f"error {before:.3g} -> {error:.3g}",
                ),
                session.batchnorm == "train",
            ),
            replace(session.recipe, seed=session.recipe.seed + 7919 * (self._number + 1)),
            session.workers,
            session.interrupts,
            state=state,
            keep=lambda found: session.journal.keep(stage, found),
            progress=progress,
        )
        if session.batchnorm == "reestimate":
            self._reestimate(trainable)
        return values | trainable.values(), TrainedBlock(
            name, before, outcome.after, outcome.problem
        )

    def _loss(self, call: Callable[[Any], Any], index: Array) -> Any:
        return self._data.loss(call, index, self._session.workers.device)

    def _evaluate(self, call: Callable[[Any], Any]) -> float:
        return self._data.evaluate(call, self._session.workers.device)

    def _feeds(self) -> Iterator[Arrays]:
        samples = self._session.samples
        for index in samples.chunks():
            if index[-1] < samples.trained:
                yield self._data.given(index)

    def _reestimate(self, trainable: Trainable) -> None:
        module, samples = trainable.module, self._session.samples
        device = self._session.workers.device
        module.to(device)
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        was = self._evaluate(trainable)
        size = trainable.unit or min(self._session.recipe.batch, samples.trained)

        def passes() -> None:
            for start in range(0, samples.trained - size + 1, size):
                index = np.arange(start, start + size)
                trainable(to_tensors(self._data.given(index), device))

        if reestimate(module, passes) and not self._evaluate(trainable) < was:
            module.load_state_dict(before)
