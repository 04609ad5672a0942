"""Where the time of a run goes on the ONNX Runtime targets, for passes that choose by measuring."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import onnxruntime as ort

from ...ir.core.target import Target
from ...ir.graph.clone import clone
from ...ir.run.session import make_session, output_types, run_session
from .session_options import SessionSettings, providers_for, session_options

_EVENT = "_kernel_time"
# What its optimizer appends to the name of a node, or of a tensor, that it gives a new kernel.
_APPENDED = re.compile(r"(_token_\d+|_nchwc)$")
_MOST_RUNS = 200
_WARMUP = 2


def profile(
    graph: gs.Graph,
    feed: Mapping[str, np.ndarray[Any, Any]],
    target: str,
    *,
    seconds: float,
) -> dict[str, float]:
    """Return the seconds of each node that ONNX Runtime executes, by what it is named after.

    Raises BackendError or ExecutionError where the target is not there or refuses the graph.
    """
    parsed = Target.parse(target)
    options = session_options(parsed.threads, SessionSettings())
    session = _Profiled(graph, options, providers_for(parsed, None))
    started = time.perf_counter()
    for done in range(_MOST_RUNS):
        session(feed)
        if done > 2 * _WARMUP and time.perf_counter() - started > seconds:
            break
    return {name: kernel.seconds for name, kernel in session.end().items()}


def profile_session(
    graph: gs.Graph,
    options: ort.SessionOptions,
    providers: list[str],
    feed: Mapping[str, np.ndarray[Any, Any]],
    rounds: int,
) -> dict[str, ProfiledKernel]:
    """Return the kernels that `profile` times, of a session with these options and so many runs."""
    session = _Profiled(graph, options, providers)
    for _ in range(_WARMUP + rounds):
        session(feed)
    return session.end()


@dataclass(frozen=True)
class ProfiledKernel:
    """A kernel as it ran: its usual seconds, its operator, and the shape of its first output.

    The shape is the one in memory: where channels lie in blocks, they fill the last one.
    """

    seconds: float
    operator: str
    shape: tuple[int, ...] | None


class _Profiled:
    """A session that writes down how long each of its kernels takes."""

    def __init__(self, graph: gs.Graph, options: ort.SessionOptions, providers: list[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="planish-")
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(self._folder.name) / "profile")
        self._session = make_session(clone(graph), options, providers)
        self._types = output_types(self._session)

    def __call__(self, feed: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Run once."""
        run_session(self._session, self._types, feed)

    def end(self) -> dict[str, ProfiledKernel]:
        """Return each kernel by what it is named after, in the order they ran."""
        with self._folder:
            events = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        found: dict[str, list[float]] = defaultdict(list)
        told: dict[str, dict[str, Any]] = {}
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith(_EVENT):
                name = _APPENDED.sub("", event["name"].removesuffix(_EVENT))
                found[name].append(event["dur"] / 1e6)
                told[name] = event.get("args", {})
        # What else the machine does makes times longer, never shorter.
        return {
            name: ProfiledKernel(
                float(np.percentile(times[_WARMUP:], 20)),
                told[name].get("op_name", ""),
                _first_shape(told[name].get("output_type_shape")),
            )
            for name, times in found.items()
        }


def _first_shape(outputs: Any) -> tuple[int, ...] | None:
    """Return the first shape of `[{"float": [1, 3]}, ...]`; None where there is none."""
    first = outputs[0] if isinstance(outputs, list) and outputs else None
    shape = next(iter(first.values()), None) if isinstance(first, dict) else None
    return tuple(map(int, shape)) if isinstance(shape, list) else None
