"""Timing: interleaved, with ratios against the first subject."""

import dataclasses
import json

import numpy as np
import pytest

import planish
from planish.backends.timing import bench as module
from planish.backends.timing.bench import Subject, bench
from planish.ir.core.errors import BackendError

from tests.helpers import conv_batchnorm


class Clock:
    """A clock that only moves when a subject runs."""

    def __init__(self, monkeypatch):
        self.now = 0
        self.calls = []
        monkeypatch.setattr(module.time, "perf_counter_ns", lambda: self.now)
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now / 1e9)

    def subject(self, label, durations, batch=1):
        """Return a subject whose runs take these milliseconds, in turn."""
        left = list(durations)

        def run(feed):
            self.calls.append(label)
            self.now += int(1e6 * left.pop(0))

        return Subject(label, run, {}, batch)


def test_times_and_ratios_are_those_of_the_clock(monkeypatch):
    clock = Clock(monkeypatch)
    a, b = [4, 2, 8, 10, 6], [2, 2, 2, 20, 3]
    first, second = bench(
        [clock.subject("a", a), clock.subject("b", b, batch=4)], rounds=5, warmup=0
    )
    assert (first.label, second.label) == ("a", "b")
    assert (first.median_ms, first.min_ms, first.ratio, first.rounds) == (6, 2, 1, 5)
    assert first.p20_ms == pytest.approx(np.percentile(a, 20))
    assert first.p90_ms == pytest.approx(np.percentile(a, 90))
    # Round by round, not median over median (2 / 6): drift hits both subjects of a round.
    assert second.ratio == pytest.approx(np.median([0.5, 1, 0.25, 2, 0.5]))
    assert second.samples_per_second == pytest.approx(4 / 0.002)
    assert first.samples_per_second == pytest.approx(1 / 0.006)


def test_of_a_burst_the_median_counts_and_the_first_run_does_not(monkeypatch):
    clock = Clock(monkeypatch)
    a, b = [90, 4, 6, 5, 90, 3, 3, 9], [70, 20, 70, 8, 8]
    first, second = bench(
        [clock.subject("a", a), clock.subject("b", b)], rounds=2, warmup=0, burst=0.015
    )
    assert (first.min_ms, first.rounds) == (3, 2)
    assert first.median_ms == np.median([5, 3])
    assert second.median_ms == np.median([20, 8])
    assert second.ratio == pytest.approx(np.median([20 / 5, 8 / 3]))


def test_subjects_are_interleaved_in_an_order_that_changes(monkeypatch):
    clock = Clock(monkeypatch)
    subjects = [clock.subject(name, [1] * 40) for name in "abc"]
    bench(subjects, rounds=38, warmup=2, seed=1)
    assert clock.calls[:6] == list("abcabc")
    counted = ["".join(clock.calls[i : i + 3]) for i in range(6, 120, 3)]
    assert len(counted) == 38
    assert {"".join(sorted(turn)) for turn in counted} == {"abc"}
    assert len(set(counted)) == 6
    again = Clock(monkeypatch)
    bench([again.subject(name, [1] * 40) for name in "abc"], rounds=38, warmup=2, seed=1)
    assert again.calls == clock.calls


def test_warm_up_is_not_counted(monkeypatch):
    clock = Clock(monkeypatch)
    (found,) = bench([clock.subject("a", [100, 100, 1, 1, 1])], rounds=3, warmup=2)
    assert (found.median_ms, found.rounds) == (1, 3)


def test_a_time_limit_ends_after_three_rounds_at_least(monkeypatch):
    clock = Clock(monkeypatch)
    (found,) = bench([clock.subject("a", [1000] * 50)], rounds=50, warmup=0, seconds=0.5)
    assert found.rounds == 3
    (found,) = bench([clock.subject("a", [1000] * 50)], rounds=50, warmup=0, seconds=9.5)
    assert found.rounds == 10


def test_progress_rises_to_1(monkeypatch):
    clock = Clock(monkeypatch)
    told = []
    bench([clock.subject("a", [1] * 4)], rounds=4, warmup=0, progress=told.append)
    assert told == [0.25, 0.5, 0.75, 1]


def test_nothing_to_time_is_refused():
    with pytest.raises(BackendError, match="nothing to time"):
        bench([])
    with pytest.raises(BackendError, match="nothing to time"):
        bench([Subject("a", lambda feed: None, {})], rounds=0)


def test_timings_of_a_model_go_through_json():
    graph = planish.load(conv_batchnorm())
    feed = planish.random_feeds(graph)[0]
    (found,) = bench([Subject("m", planish.lower(graph, threads=1), feed, 2)], rounds=3, warmup=1)
    assert json.loads(json.dumps(dataclasses.asdict(found))) == dataclasses.asdict(found)
    assert 0 < found.min_ms <= found.median_ms <= found.p90_ms
