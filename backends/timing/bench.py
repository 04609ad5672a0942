"""Latency of several models on several backends, interleaved so that ratios hold on a busy machine.

One round runs every subject once, in an order that is shuffled anew with a seed; slow drift of the
machine then hits all subjects alike.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.core.errors import BackendError
from ...ir.core.kind import kind_of
from ..contract.backend import Compiled

Feed = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Subject:
    """One thing to time: a lowered model and the feed it is run on, `batch` samples at once."""

    label: str
    compiled: Compiled
    feed: Feed
    batch: int = 1


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Latency of one subject, in milliseconds a run.

    `p20_ms`: the 20th percentile, which a machine that does something else as well disturbs least.
    `ratio`: median over the rounds of this subject's time over the first subject's time in the
    same round; below 1 is faster.
    """

    label: str
    batch: int
    median_ms: float
    p20_ms: float
    p90_ms: float
    min_ms: float
    ratio: float
    rounds: int

    @property
    def samples_per_second(self) -> float:
        """Throughput at the median latency."""
        return 1000 * self.batch / self.median_ms


def bench(
    subjects: Sequence[Subject],
    *,
    rounds: int = 50,
    warmup: int = 5,
    seconds: float | None = None,
    burst: float = 0.0,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> list[Timing]:
    """Time `subjects` side by side: `warmup` rounds uncounted, then `rounds` counted ones.

    `seconds` ends the counted rounds early, after at least three. `burst`: seconds that a subject
    runs at a time, of which the median run counts and the first does not: its weights are in the
    caches then, out of which the others' drive them. 0: one run. Raises BackendError without
    subjects or rounds.
    """
    if not isinstance(subjects, Sequence) or not all(isinstance(s, Subject) for s in subjects):
        raise BackendError(f"{kind_of(subjects)} is given; give a list of planish.Subject to time")
    if not subjects or rounds < 1:
        raise BackendError("there is nothing to time; give at least one model and one round")
    for _ in range(warmup):
        for subject in subjects:
            subject.compiled(subject.feed)
    generator = random.Random(seed)
    times: list[list[float]] = [[] for _ in subjects]
    order = list(range(len(subjects)))
    started = time.perf_counter()
    for done in range(rounds):
        generator.shuffle(order)
        for index in order:
            subject = subjects[index]
            if burst:
                _nanoseconds(subject)
            runs = [_nanoseconds(subject)]
            while sum(runs) < 1e9 * burst:
                runs.append(_nanoseconds(subject))
            times[index].append(float(np.median(runs)))
        progress((done + 1) / rounds)
        if seconds is not None and done >= 2 and time.perf_counter() - started > seconds:
            break
    first = np.array(times[0], np.float64)
    return [
        _timing(subject, np.array(found, np.float64), first)
        for subject, found in zip(subjects, times, strict=True)
    ]


def _nanoseconds(subject: Subject) -> int:
    """Return what one run takes."""
    before = time.perf_counter_ns()
    subject.compiled(subject.feed)
    return time.perf_counter_ns() - before


def _timing(subject: Subject, found: np.ndarray[Any, Any], first: np.ndarray[Any, Any]) -> Timing:
    return Timing(
        label=subject.label,
        batch=subject.batch,
        median_ms=float(np.median(found)) / 1e6,
        p20_ms=float(np.percentile(found, 20)) / 1e6,
        p90_ms=float(np.percentile(found, 90)) / 1e6,
        min_ms=float(found.min()) / 1e6,
        ratio=float(np.median(found / first)),
        rounds=len(found),
    )
