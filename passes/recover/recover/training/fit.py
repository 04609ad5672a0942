"""The training loop: minibatches, evaluations, the best weights kept, a state to go on from."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .....ir.core.errors import RefusedError
from .batchnorm import training_batchnorm
from .interrupt import Interrupts
from .recipe import TrainingRecipe
from .trainable import Trainable
from .workers import Workers

_EVALUATIONS = 20  # at most, on the way

Call = Callable[[Any], Any]


@dataclass(frozen=True)
class TrainingTask:
    """What a module is trained for.

    `samples`: how many there are to train on. `loss(call, index, step, place)`: of the minibatch
    whose samples have the indices `index` and are number `place` and on of the whole batch, with
    `call` from inputs to outputs. `evaluate(call)`: a loss on samples not trained on, and a word.
    `train_batchnorm`: normalizations use and gather the statistics of the minibatch.
    """

    name: str
    samples: int
    loss: Callable[[Call, Any, int, int], Any]
    evaluate: Callable[[Call], tuple[float, str]]
    train_batchnorm: bool = False


@dataclass(frozen=True)
class TrainingOutcome:
    """The losses evaluated before training and of the weights kept, and why it stopped early."""

    before: float
    after: float
    problem: str = ""


def fit(
    trainable: Trainable,
    task: TrainingTask,
    recipe: TrainingRecipe,
    workers: Workers,
    interrupts: Interrupts,
    *,
    state: Any = None,
    keep: Callable[[Any], None] = lambda state: None,
    keep_on_the_way: bool = False,
    progress: Callable[[float, str], None] = lambda fraction, note: None,
) -> TrainingOutcome:
    """Train; leave the module with the weights that were evaluated best, at worst the first.

    `keep` is given a state that `state` goes on from: when interrupted, and after each evaluation
    where `keep_on_the_way`. Raises RefusedError where the loss is not finite from the start.
    """
    import torch

    module = trainable.module
    with workers.prepared(module) as wrapped, torch.random.fork_rng():
        run = _TrainingRun(trainable, task, recipe, workers, wrapped)
        if state is not None:
            run.restore(state)
        elif not run.evaluate():
            raise RefusedError(
                f"{task.name}: the loss is {run.before} before any step; check weights and feeds "
                "for NaN and infinity"
            )
        try:
            while True:
                if run.evaluated < run.step and run.is_due():
                    run.evaluate()
                    if keep_on_the_way:
                        keep(run.state())
                if run.step >= run.total or run.problem:
                    break
                interrupts.check()
                run.advance()
                progress(run.step / run.total, run.note())
        except KeyboardInterrupt:
            if run.whole:
                keep(run.state())
            raise
        run.take_best()
    module.to("cpu")
    return TrainingOutcome(run.before, run.best_loss, run.problem)


class _TrainingRun:
    """A training run between two steps."""

    def __init__(
        self,
        trainable: Trainable,
        task: TrainingTask,
        recipe: TrainingRecipe,
        workers: Workers,
        wrapped: Any,
    ) -> None:
        self.trainable, self.task = trainable, task
        self.recipe, self.workers = recipe, workers
        self._wrapped = wrapped
        self._module = trainable.module
        self.total = recipe.total(task.samples)
        self._every = max(recipe.steps_of_epoch(task.samples), math.ceil(self.total / _EVALUATIONS))
        self._optimizer = recipe.make_optimizer(trainable.groups(recipe.learning_rate))
        self._schedule = recipe.make_schedule(self._optimizer, max(self.total, 1))
        self.step, self.evaluated = 0, -1
        self.whole = True
        self.before = self.best_loss = math.inf
        self._best: dict[str, Any] = {}
        self._word, self._loss = "", math.nan
        self.problem = ""

    def is_due(self) -> bool:
        """Say whether to evaluate at this step."""
        return self.step % self._every == 0 or self.step == self.total

    def evaluate(self) -> bool:
        """Evaluate, and keep the best weights. False: the loss is not finite."""
        import torch

        with torch.no_grad():
            evaluation = self.task.evaluate(lambda arrays: self.trainable(arrays))
        # Processes must not disagree on what is best, by rounding.
        loss, self._word = self.workers.agreed(evaluation)
        if self.evaluated < 0:
            self.before = loss
        self.evaluated = self.step
        if loss < self.best_loss:
            self.best_loss, self._best = loss, _copied(self._module.state_dict())
        return math.isfinite(loss)

    def advance(self) -> None:
        """Make one step."""
        import torch

        recipe, workers, task = self.recipe, self.workers, self.task
        index = recipe.batch_at(self.step, task.samples, workers.count * (self.trainable.unit or 1))
        share = len(index) // workers.count
        place = workers.rank * share
        index = index[place : place + share]
        _seed(recipe.seed * 1_000_003 + self.step, workers.device)
        self.whole = False
        self._optimizer.zero_grad(set_to_none=True)
        size = self.trainable.unit or len(index)
        total = torch.zeros((), device=workers.device)
        with training_batchnorm(self._module, task.train_batchnorm):
            for start in range(0, len(index), size):
                part = index[start : start + size]
                loss = task.loss(self._call, part, self.step, place + start)
                loss = loss * (len(part) / len(index))
                total = total + workers.mean(loss.detach())
                if not torch.isfinite(total):
                    break  # in every process alike, since a backward pass waits for all
                loss.backward()
        self._loss = float(total)
        if not math.isfinite(self._loss):
            self.problem = (
                f"the loss was {self._loss} at step {self.step + 1} of {self.total}; the best "
                f"weights before it are kept, try a learning-rate below {recipe.learning_rate:g}"
            )
            return
        self._optimizer.step()
        self._schedule.step()
        self.step += 1
        self.whole = True

    def _call(self, arrays: Any) -> Any:
        return self.trainable(arrays, self._wrapped)

    def note(self) -> str:
        """Return a word on how it goes."""
        word = f", {self._word}" if self._word else ""
        return f"loss {self._loss:.4g}{word}"

    def take_best(self) -> None:
        """Put the best weights into the module."""
        if self._best:
            self._module.load_state_dict(self._best, strict=True)

    def state(self) -> dict[str, Any]:
        """Return all that the run depends on."""
        return {
            "step": self.step,
            "judged": self.evaluated,
            "before": self.before,
            "best_loss": self.best_loss,
            "best": self._best,
            "word": self._word,
            "model": _copied(self._module.state_dict()),
            "optimizer": copy.deepcopy(self._optimizer.state_dict()),
            "schedule": _plain(self._schedule.state_dict()),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.step, self.evaluated = state["step"], state["judged"]
        self.before, self.best_loss = state["before"], state["best_loss"]
        self._best, self._word = state["best"], state["word"]
        self._module.load_state_dict(state["model"], strict=True)
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


def _seed(seed: int, device: Any) -> None:
    """Seed what draws on `device`; the CPU alone where that is the device.

    `torch.manual_seed` keeps a formatted stack for each device not there, a millisecond a step.
    """
    import torch

    if torch.device(device).type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _copied(state: Any) -> dict[str, Any]:
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """Return what of a schedule's state is data; functions it was made with are there anyway."""
    kinds = (int, float, bool, str, list, tuple, dict, type(None))
    return {key: value for key, value in state.items() if isinstance(value, kinds)}


def mean_over(runs: Any, value: Callable[[Any], tuple[float, int]]) -> float:
    """Return the mean over samples of what `value` gives, with a count, for each of `runs`."""
    found = [value(run) for run in runs]
    return float(np.sum([v * n for v, n in found]) / max(sum(n for _, n in found), 1))
