"""MLPerf's own load generator in front of any backend: the scenarios SingleStream and Offline.

LoadGen (`mlcommons-loadgen`, extra `mlperf`) decides which samples are asked for and when, takes
the time and says whether the run is valid; planish answers its queries (Reddi et al. 2020, "MLPerf
Inference Benchmark"). SingleStream asks for one sample after the other and reports the 90th
percentile of latency; Offline asks for all samples at once and reports samples a second.
"""

from __future__ import annotations

import json
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.core.errors import BackendError

Feed = Mapping[str, np.ndarray[Any, Any]]

_TRIES = 5
# LoadGen prepares its queries from the speed it is told and ends early, invalid, where they run
# out: it is told more than what was tried. An Offline run takes that much longer.
_HEADROOM = 1.3
_DETAIL = "mlperf_log_detail.txt"
_MARK = ":::MLLOG "


class Scenario(StrEnum):
    """A scenario of MLPerf Inference."""

    single_stream = "SingleStream"
    offline = "Offline"


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What LoadGen found: whether the run is valid, and its figures.

    `p90_ms` is the score of SingleStream, `samples_per_second` that of Offline; for an Offline run
    latency counts from the one query that asks for everything, and is None.
    """

    scenario: str
    valid: bool
    reasons: tuple[str, ...]
    samples: int
    p90_ms: float | None
    samples_per_second: float


def run_loadgen(
    run: Callable[[Feed], Any],
    samples: Sequence[Feed],
    scenario: Scenario,
    *,
    batch: int = 1,
    seconds: float = 10.0,
    min_queries: int = 100,
    seed: int = 0,
    log_dir: Path | None = None,
) -> LoadResult:
    """Run LoadGen in performance mode against `run`, a lowered model, and return what it found.

    A sample is a feed of one item, arrays of shape [1, ...]; an Offline run joins `batch` of them
    to one call, and repeats the first to fill the last one. The run takes at least `seconds` and
    `min_queries` samples; a submission to MLPerf asks for 600 seconds. LoadGen's logs are written
    to `log_dir`, which is made, or nowhere. Raises BackendError where LoadGen is not installed,
    where there is nothing to run, or where the logs cannot be written. Ctrl-C ends the run after
    the call that it finds running.
    """
    loadgen = _import()
    if not samples:
        raise BackendError("there is no sample to run; give at least one")
    if batch > 1 and scenario is Scenario.single_stream:
        raise BackendError(
            f"the scenario SingleStream asks for one sample at a time, and the batch is {batch}; "
            "use a batch of 1, or the scenario Offline"
        )
    latency = _try(run, _join(samples, range(batch)))
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario.value)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = max(1, round(1000 * seconds))
    settings.min_query_count = min_queries
    settings.single_stream_expected_latency_ns = max(1, int(1e9 * latency / _HEADROOM))
    settings.offline_expected_qps = _HEADROOM * batch / latency
    for name in ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed"):
        setattr(settings, name, seed)
    with _folder(log_dir) as folder:
        logs = loadgen.LogSettings()
        logs.log_output.outdir = str(folder)
        logs.log_output.copy_summary_to_stdout = False
        logs.enable_trace = False
        answering = _Answering(loadgen, run, samples, batch)
        system = loadgen.ConstructSUT(answering.issue, lambda: None)
        library = loadgen.ConstructQSL(
            len(samples), len(samples), lambda indices: None, lambda indices: None
        )
        try:
            with answering.interruptible():
                loadgen.StartTestWithLogSettings(
                    system, library, settings, logs, str(folder / "audit.config")
                )
        finally:
            loadgen.DestroyQSL(library)
            loadgen.DestroySUT(system)
        if answering.failure is not None:
            raise answering.failure
        return _read(folder / _DETAIL, scenario)


class _Answering:
    """Answers LoadGen's queries.

    An exception that crosses LoadGen leaves its threads behind, and these abort the process: so it
    is kept, the queries that are left are answered without work, and it is raised at the end.
    """

    def __init__(
        self, loadgen: Any, run: Callable[[Feed], Any], samples: Sequence[Feed], batch: int
    ) -> None:
        self.failure: BaseException | None = None
        self._loadgen = loadgen
        self._run = run
        self._samples = samples
        self._batch = batch

    def issue(self, queries: Sequence[Any]) -> None:
        for start in range(0, len(queries), self._batch):
            group = queries[start : start + self._batch]
            if self.failure is None:
                try:
                    self._run(_join(self._samples, [q.index for q in group], self._batch))
                except BaseException as error:
                    self.failure = error
            done = [self._loadgen.QuerySampleResponse(query.id, 0, 0) for query in group]
            self._loadgen.QuerySamplesComplete(done)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Take Ctrl-C as a failure: raised anywhere, it could cross LoadGen."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(*_: Any) -> None:
            self.failure = self.failure or KeyboardInterrupt()

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def rows(feed: Feed) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Return the items of a batch as feeds of one item each: [N, ...] -> N times [1, ...].

    An input that does not have the batch's first axis, such as a scalar, goes into each.
    """
    count = max((len(array) for array in feed.values() if array.ndim), default=1)
    return [
        {
            name: array[i : i + 1] if array.ndim and len(array) == count else array
            for name, array in feed.items()
        }
        for i in range(count)
    ]


def _join(samples: Sequence[Feed], indices: Sequence[int], batch: int = 0) -> Feed:
    """Return the samples of `indices` as one feed of at least `batch` items."""
    chosen = [samples[index % len(samples)] for index in indices]
    chosen += [samples[0]] * (batch - len(chosen))
    if len(chosen) == 1:
        return chosen[0]
    return {
        name: np.concatenate([sample[name] for sample in chosen]) if array.ndim else array
        for name, array in chosen[0].items()
    }


def _try(run: Callable[[Feed], Any], feed: Feed) -> float:
    """Return the shortest of a few runs, in seconds, after one that warms up."""
    run(feed)
    found = []
    for _ in range(_TRIES):
        before = time.perf_counter()
        run(feed)
        found.append(time.perf_counter() - before)
    return max(min(found), 1e-7)


def _import() -> Any:
    try:
        import mlperf_loadgen
    except ImportError as error:
        raise BackendError(
            "MLPerf's LoadGen is not installed; install it: pip install 'planish[mlperf]'"
        ) from error
    return mlperf_loadgen


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is None:
        with tempfile.TemporaryDirectory(prefix="planish-") as made:
            yield Path(made)
        return
    try:
        given.mkdir(parents=True, exist_ok=True)
        (given / _DETAIL).write_text("")  # LoadGen itself would go on without its logs
    except OSError as error:
        raise BackendError(
            f"cannot write LoadGen's logs to '{given}': {error.strerror or error}; give a folder "
            "that can be written to"
        ) from error
    yield given


def _read(path: Path, scenario: Scenario) -> LoadResult:
    """Read LoadGen's own log, one JSON object a line."""
    found: dict[str, Any] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    reasons = []
    for line in lines:
        if line.startswith(_MARK):
            entry = json.loads(line.removeprefix(_MARK))
            found[entry["key"]] = entry["value"]
            if entry["key"] == "result_invalid_reason" and str(entry["value"]).strip():
                reasons.append(" ".join(str(entry["value"]).split()))
    if "result_validity" not in found:
        raise BackendError(f"LoadGen wrote no result to '{path}'; run it again with --log-dir")
    offline = scenario is Scenario.offline
    rate = found["result_samples_per_second" if offline else "result_qps_with_loadgen_overhead"]
    count = found["effective_samples_per_query"] if offline else found["result_query_count"]
    return LoadResult(
        scenario=scenario.value,
        valid=found["result_validity"] == "VALID",
        reasons=tuple(reasons),
        samples=int(count),
        p90_ms=None if offline else float(found["result_90.00_percentile_latency_ns"]) / 1e6,
        samples_per_second=float(rate),
    )
