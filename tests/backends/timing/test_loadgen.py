"""MLPerf's LoadGen in front of a model: both scenarios, refusals, failures and Ctrl-C."""

import os
import signal
import sys
import time

import numpy as np
import pytest

import planish
from planish.backends.timing import loadgen
from planish.backends.timing.loadgen import Scenario, rows, run_loadgen
from planish.ir.core.errors import BackendError

from tests.helpers import conv_batchnorm

X = np.random.default_rng(2).standard_normal((5, 3, 9, 9)).astype(np.float32)
SAMPLES = rows({"x": X})


class Recorder:
    """A lowered model that keeps what it was run on."""

    def __init__(self, seconds=0.001):
        self.compiled = planish.lower(planish.load(conv_batchnorm()), threads=1)
        self.feeds = []
        self.seconds = seconds

    def __call__(self, feed):
        self.feeds.append(feed)
        time.sleep(self.seconds)
        return self.compiled(feed)


@pytest.fixture
def prepared(monkeypatch):
    """Have LoadGen prepare as many queries as a Recorder can answer at most, whatever else runs."""
    monkeypatch.setattr(loadgen, "_try", lambda run, feed: 0.001)


def test_single_stream_asks_for_one_sample_at_a_time(prepared):
    run = Recorder()
    started = time.perf_counter()
    found = run_loadgen(run, SAMPLES, Scenario.single_stream, seconds=0.4, min_queries=64)
    assert time.perf_counter() - started >= 0.4
    assert (found.scenario, found.valid, found.reasons) == ("SingleStream", True, ())
    assert {feed["x"].shape for feed in run.feeds} == {(1, 3, 9, 9)}
    assert 64 <= found.samples <= len(run.feeds)
    assert found.p90_ms >= 1  # a run sleeps that long
    assert found.samples_per_second <= 1000
    asked = {feed["x"].tobytes() for feed in run.feeds[-found.samples :]}
    assert asked == {sample["x"].tobytes() for sample in SAMPLES}


def test_offline_asks_at_once_and_runs_in_batches(prepared):
    run = Recorder()
    found = run_loadgen(run, SAMPLES, Scenario.offline, batch=4, seconds=0.3, min_queries=30)
    assert (found.scenario, found.valid, found.p90_ms) == ("Offline", True, None)
    assert {feed["x"].shape for feed in run.feeds} == {(4, 3, 9, 9)}
    assert found.samples >= 30
    assert found.samples <= 4 * len(run.feeds)
    assert found.samples_per_second <= 4000


def test_the_same_seed_asks_the_same():
    def order(seed):
        run = Recorder()
        found = run_loadgen(
            run, SAMPLES, Scenario.single_stream, seconds=0.1, min_queries=64, seed=seed
        )
        return [feed["x"][0, 0, 0, 0] for feed in run.feeds[-found.samples :]][:60]

    first = order(1)
    assert order(1) == first
    assert order(2) != first


def test_logs_are_kept_where_asked(tmp_path):
    folder = tmp_path / "logs" / "one"
    run_loadgen(Recorder(), SAMPLES, Scenario.offline, seconds=0.05, log_dir=folder)
    summary = (folder / "mlperf_log_summary.txt").read_text()
    assert "Scenario : Offline" in summary
    assert "Mode     : PerformanceOnly" in summary


def test_a_run_that_is_too_short_is_invalid_and_says_why(monkeypatch):
    """LoadGen prepares its queries from the speed of the first runs, which here were slow."""
    monkeypatch.setattr(loadgen, "_try", lambda run, feed: 10.0)
    found = run_loadgen(Recorder(0), SAMPLES, Scenario.offline, seconds=1, min_queries=10)
    assert not found.valid
    assert "Increase expected QPS" in found.reasons[0]


@pytest.mark.parametrize("scenario", list(Scenario))
def test_a_failure_is_raised_and_the_next_run_works(scenario):
    calls = 0

    def run(feed):
        nonlocal calls
        calls += 1
        time.sleep(0.001)
        if calls == 40:
            raise BackendError("the model broke")

    with pytest.raises(BackendError, match="the model broke"):
        run_loadgen(run, SAMPLES, scenario, seconds=20)
    assert calls == 40
    assert run_loadgen(run, SAMPLES, scenario, seconds=0.05).samples > 0


@pytest.mark.parametrize("scenario", list(Scenario))
def test_ctrl_c_ends_the_run_and_is_raised(scenario):
    run = Recorder(0.002)

    def interrupted(feed):
        if len(run.feeds) == 100:
            os.kill(os.getpid(), signal.SIGINT)
        return run(feed)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_loadgen(interrupted, SAMPLES, scenario, seconds=60)
    assert len(run.feeds) < 1000  # of some 30,000
    assert signal.getsignal(signal.SIGINT) is before


def test_refusals(tmp_path, monkeypatch):
    run = Recorder()
    with pytest.raises(BackendError, match="no sample"):
        run_loadgen(run, [], Scenario.offline)
    with pytest.raises(BackendError, match="one sample at a time, and the batch is 2"):
        run_loadgen(run, SAMPLES, Scenario.single_stream, batch=2)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(BackendError, match="cannot write LoadGen's logs to"):
        run_loadgen(run, SAMPLES, Scenario.offline, log_dir=file)
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    with pytest.raises(BackendError, match=r"pip install 'planish\[mlperf\]'"):
        run_loadgen(run, SAMPLES, Scenario.offline)


def test_rows_of_a_batch():
    scalar = np.float32(3)
    found = rows({"x": X[:2], "k": np.asarray(scalar), "table": np.ones((1, 4))})
    assert [sample["x"].shape for sample in found] == [(1, 3, 9, 9)] * 2
    assert np.array_equal(found[1]["x"][0], X[1])
    assert all(sample["k"] == scalar and sample["table"].shape == (1, 4) for sample in found)
