"""The order of candidates, and what becomes of what cannot be told apart: no processes."""

from typing import ClassVar

import pytest

import planish
from planish.backends.auto import search as module
from planish.backends.auto.messages import Ready
from planish.backends.auto.search import Search
from planish.backends.contract.backend_text import BackendText
from planish.ir.core.errors import BackendError

from tests.helpers import graph_of


class Tuned(planish.Backend):
    summary = ""
    tunable: ClassVar = {"a": (1, 2), "b": (True,)}

    def __init__(self, name):
        self.name = name

    def lower(self, graph, target, threads):
        raise AssertionError

    load = targets = lower


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return what searches among backends whose runs take the seconds given, by text."""

    def searched(seconds, *backends, tune=True):
        alive = set()

        class Fake:
            def __init__(self, job, backend, log, patience):
                self.job = job
                self._times = list(seconds[job.backend])
                alive.add(job.backend)
                peak.append(len(alive))
                outputs = [{"y": feed["x"]} for feed in job.feeds]
                self.ready = Ready(outputs=outputs, seconds=0, saved=False)

            def run(self):
                return lambda feed: {"y": feed["x"]}

            def burst(self, _):
                if not self._times:
                    raise BackendError("it is gone")
                self._times.append(self._times.pop(0))
                if self._times[0] is None:
                    self._times.clear()
                    return 1.0
                return self._times[0]

            def close(self):
                alive.discard(self.job.backend)

            def __enter__(self):
                return self

            def __exit__(self, *_):
                self.close()

        peak = []
        monkeypatch.setattr(module, "Running", Fake)
        graph = graph_of("g (float[2] x) => (float[2] y) { y = Identity(x) }")
        search = Search(
            graph,
            "cpu",
            None,
            feeds=None,
            seed=0,
            burst=0.1,
            patience=1,
            folder=tmp_path,
            progress=lambda fraction, note: None,
        )
        pairs = [(Tuned(name), BackendText(name)) for name in backends]
        best = search.run(pairs, tune=tune)
        assert max(peak) <= 3
        assert not alive
        return best.job.backend, {each.backend: each for each in search.found}

    return searched


NOISY = [1.0, 1.1, 0.9, 1.05]


def test_a_tie_stays_with_what_came_first(run):
    backend, found = run({"x": NOISY, "y": NOISY[::-1]}, "x", "y", tune=False)
    assert backend == "x"
    (compared,) = found["y"].compared
    assert compared.beside == "x"
    assert compared.low <= 1 <= compared.high


def test_options_are_tried_one_by_one_and_those_kept_that_help(run):
    times = {"x": [9.0], "y": [4.0], "y{a=1}": [5.0], "y{a=2}": [3.0], "y{a=2,b=true}": [2.0]}
    times |= {"x{a=1}": [9.5], "x{a=2}": [9.0], "x{b=true}": [8.0]}
    backend, found = run(times, "x", "y")
    assert backend == "y{a=2,b=true}"
    assert list(found) == [*["x", "x{a=1}", "x{a=2}", "x{b=true}"], *list(times)[1:5]]
    (compared,) = found["y{a=2}"].compared
    assert (compared.beside, compared.ratio) == ("y", pytest.approx(0.75))
    # The best of a backend meets the best of those before.
    assert [each.beside for each in found["y{a=2,b=true}"].compared] == ["y{a=2}", "x{b=true}"]


def test_one_that_ends_while_it_is_timed_is_refused(run):
    backend, found = run({"x": [2.0], "y": [1.0, None]}, "x", "y", tune=False)
    assert backend == "x"
    assert found["y"].refused == "it is gone"
