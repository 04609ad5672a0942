"""The fastest candidate that is right: one after the other against the best so far, in turns.

    ratio = time of the challenger / time of the best, from bursts that take turns

The challenger is taken where its ratio is below 1 for sure (see `measure_ratios`): what cannot be
told apart stays with what came first, which has fewer options. Each runs in a process of its own,
and three at most are there at once. First come a backend's own defaults, then its tunable options,
one by one; the best of a backend meets the best of those before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.errors import BackendError, PlanishError
from ...ir.files.save import save
from ...passes.engine.context import Feeds
from ...passes.quantize.quantize.latency_ratio import LatencyRatio, measure_ratios
from ...passes.trust.verify import Verifier
from ..contract.backend import Backend
from ..contract.backend_text import BackendText
from .choice import Candidate, Compared
from .messages import Job
from .running import Running

Progress = Callable[[float, str], None]

_MOST = 8  # bursts of each of two


class Search:
    """Tries candidates on `graph`; `found` has what became of each.

    `burst`: seconds of one. `patience`: seconds that lowering or one burst may take. `folder` takes
    what they write. Raises FeedError where `feeds` do not fit.
    """

    def __init__(
        self,
        graph: gs.Graph,
        target: str,
        threads: int | None,
        *,
        feeds: Feeds | None,
        seed: int,
        burst: float,
        patience: float,
        folder: Path,
        progress: Progress,
    ) -> None:
        self.found: list[Candidate] = []
        self._graph = graph
        self._verifier = Verifier(graph, feeds, seed)
        if not self._verifier.feeds:
            raise BackendError(
                f"there is nothing to measure on: {self._verifier.remark}; give feeds"
            )
        self.feeds = self._verifier.feeds
        self._target = target
        self._threads = threads
        self._burst = burst
        self._patience = patience
        self._folder = folder
        self._progress = progress
        self._model = folder / "model.onnx"
        save(graph, self._model)

    @property
    def note(self) -> str:
        """What the comparison cannot tell."""
        return self._verifier.remark

    def run(self, backends: Sequence[tuple[Backend, BackendText]], *, tune: bool) -> Running:
        """Return the fastest. Raises BackendError where none is right."""
        with ExitStack() as alive:
            best: Running | None = None
            for i, (backend, text) in enumerate(backends):
                self._progress(i / len(backends), str(text))
                one = self._best_of(backend, text, alive, tune=tune)
                if one is not None:
                    best = one if best is None else self._faster(best, one)
            if best is None:
                told = "\n".join(f"  {each}" for each in self.found)
                raise BackendError(f"no backend runs the graph and is right:\n{told}")
            return best

    def _best_of(
        self, backend: Backend, text: BackendText, alive: ExitStack, *, tune: bool
    ) -> Running | None:
        best = self._try(backend, text, alive)
        if best is None or not tune:
            return best
        for option, values in backend.tunable.items():
            if option in text.options:
                continue
            for value in values:
                here = BackendText.parse(best.job.backend).with_options(**{option: value})
                other = self._try(backend, here, alive)
                if other is not None:
                    best = self._faster(best, other)
        return best

    def _try(self, backend: Backend, text: BackendText, alive: ExitStack) -> Running | None:
        """Return it lowered and found right; None where it is not."""
        place = self._folder / str(len(self.found))
        job = Job(
            model=str(self._model),
            backend=str(text),
            target=self._target,
            threads=self._threads,
            feeds=self.feeds,
            artifact=str(place),
        )
        try:
            running = Running(job, backend, place.with_suffix(".log"), self._patience)
            alive.enter_context(running)
            error = self._error(running)
            seconds = running.burst(self._burst)
        except PlanishError as problem:
            self.found.append(Candidate(backend=str(text), refused=str(problem)))
            return None
        self.found.append(
            Candidate(
                backend=str(text),
                seconds=seconds,
                error=error,
                lowering_seconds=running.ready.seconds,
            )
        )
        return running

    def _error(self, running: Running) -> float | None:
        if not self._verifier.active:
            return None
        what = f"lowering to {running.job.backend}"
        return self._verifier.check_run(running.run(), self._graph, what)

    def _faster(self, best: Running, other: Running) -> Running:
        """Return the faster of two, and end the other."""
        try:
            ratio = self._ratio(best, other)
        except BackendError as problem:  # one of them has ended
            self._note(other, refused=str(problem))
            other.close()
            return best
        self._compared(other, best, ratio)
        winner, loser = (other, best) if ratio.high < 1 else (best, other)
        loser.close()
        return winner

    def _ratio(self, best: Running, other: Running) -> LatencyRatio:
        seen: dict[str, list[float]] = {best.job.backend: [], other.job.backend: []}

        def measure(count: int) -> list[list[float]]:
            rows = []
            for i in range(count):
                order = (best, other) if i % 2 else (other, best)
                taken = {each.job.backend: each.burst(self._burst) for each in order}
                for name, seconds in taken.items():
                    seen[name].append(seconds)
                rows.append([taken[best.job.backend], taken[other.job.backend]])
            return rows

        (ratio,) = measure_ratios(measure, border=1.0, most=_MOST)
        for running in (best, other):
            self._note(running, seconds=float(np.median(seen[running.job.backend])))
        return ratio

    def _compared(self, running: Running, beside: Running, found: LatencyRatio) -> None:
        known = self.found[self._place(running)].compared
        one = Compared(beside=beside.job.backend, ratio=found.ratio, low=found.low, high=found.high)
        self._note(running, compared=(*known, one))

    def _note(self, running: Running, **known: Any) -> None:
        place = self._place(running)
        self.found[place] = replace(self.found[place], **known)

    def _place(self, running: Running) -> int:
        return [each.backend for each in self.found].index(running.job.backend)


def shapes_of(feed: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, list[int]]:
    """Return the shape of each array, by name."""
    return {name: list(np.shape(array)) for name, array in feed.items()}
