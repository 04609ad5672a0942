"""Who may be at fault: a function of the user's, planish's pipeline, a runtime.

A suspect says of a case what goes wrong, in words that are the same for the same kind of fault, and
nothing where nothing does.
"""

from __future__ import annotations

import math
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import onnx
import onnx_graphsurgeon as gs

from ...backends.contract.backend import Compiled
from ...backends.contract.backend_text import BackendText
from ...backends.contract.registry import get_backend, lower
from ...ir.core.errors import RefusedError, VerificationError
from ...ir.files.load import load
from ...ir.run.comparison import compare_outputs
from ...ir.run.reference import Reference
from ...passes.pipeline.pipeline import Pipeline
from ...passes.trust.verify import Run, Verifier
from .case import Case

DIFFERS = "outputs differ"
_FAR = "outputs differ infinitely"
_SHOWS = "the check says so"


class Suspect(Protocol):
    """What a case is held against: the classes below, or a function."""

    def __call__(self, case: Case) -> str:
        """Return what goes wrong, "" where nothing does."""


@dataclass(frozen=True)
class Checked:
    """A function of the user's that says whether the fault shows."""

    function: Callable[[onnx.ModelProto], bool]

    def __call__(self, case: Case) -> str:
        """Ask it about a copy, which it may edit."""
        copy = onnx.ModelProto()
        copy.CopyFrom(case.model)
        return _SHOWS if self.function(copy) else ""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What happens to a model: a pipeline and then a runtime, of which one may be missing.

    `backend`: its text, such as `onnxruntime{optimization=basic}`.
    """

    pipeline: str = ""
    backend: str = ""
    target: str = "cpu"
    threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.pipeline and not self.backend:
            raise RefusedError("there is no suspect; give a pipeline or a runtime")
        if self.pipeline:
            Pipeline.parse(self.pipeline)
        if self.backend:
            get_backend(BackendText.parse(self.backend).name)

    def __str__(self) -> str:
        """Say who is suspected."""
        words = [f"pipeline '{self.pipeline}'"] if self.pipeline else []
        return " and ".join(words + ([f"runtime '{self.backend}'"] if self.backend else []))

    def passed(self, graph: gs.Graph, case: Case, *, strict: bool) -> gs.Graph:
        """Return what the pipeline makes of `graph`, without verification."""
        if not self.pipeline:
            return graph
        steps, feeds = Pipeline.parse(self.pipeline), [case.feed] if case.feed else None
        return steps.run(graph, feeds, "off", seed=self.seed, strict=strict).graph

    def compiled(self, graph: gs.Graph) -> Compiled | None:
        """Return `graph` on the runtime; None where it is the reference."""
        if not self.backend:
            return None
        return lower(graph, self.backend, self.target, self.threads)


@dataclass(frozen=True, kw_only=True)
class Wrong(Steps):
    """Outputs that are not those of the model on the reference runtime.

    `tolerance`: of the range of an output; None for that of verification, which knows rounding.
    """

    tolerance: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tolerance is not None and not 0 <= self.tolerance < math.inf:
            raise RefusedError(
                f"the tolerance is {self.tolerance}, with which nothing could be right or wrong; "
                "give a part of an output's range, such as 0.001"
            )
        if self.pipeline and self.tolerance is None and not Pipeline.parse(self.pipeline).is_exact:
            raise RefusedError(
                f"pipeline '{self.pipeline}' is approximate, so its outputs always differ; say "
                "with a tolerance from where on they are wrong, such as 0.1"
            )

    def __call__(self, case: Case) -> str:
        """Run both and compare."""
        graph = load(case.model)
        after = self.passed(graph, case, strict=False)
        found = self.compiled(after)
        run: Run = Reference(after) if found is None else found
        precision = "float32" if found is None else found.precision
        feeds = [case.feed] if case.feed else None
        verifier = Verifier(graph, feeds, self.seed, precision=precision)
        if not verifier.active:
            return ""
        if self.tolerance is not None:
            return self._beyond(graph, run, verifier, self.tolerance)
        try:
            verifier.check_run(run, after, str(self))
        except VerificationError as error:
            return _kind(error)
        return ""

    def _beyond(self, graph: gs.Graph, run: Run, verifier: Verifier, tolerance: float) -> str:
        reference = Reference(graph)
        pairs = [(reference(feed), run(feed)) for feed in verifier.feeds]
        found = compare_outputs(*zip(*pairs, strict=True)).max_rel
        return "" if found <= tolerance else DIFFERS


@dataclass(frozen=True, kw_only=True)
class Crash(Steps):
    """Anything but a result: what is raised, and how the process ends, which others see."""

    def __call__(self, case: Case) -> str:
        """Run, compile and call."""
        try:
            graph = self.passed(load(case.model), case, strict=True)
            found = self.compiled(graph)
            if found is not None and case.feed:
                found(case.feed)
        except Exception as error:
            return signature(error)
        return ""


def _kind(error: VerificationError) -> str:
    if error.output is None:
        return "does not run"
    return _FAR if error.error is not None and math.isinf(error.error) else DIFFERS


def signature(error: BaseException) -> str:
    """Return what errors of smaller models share: type, place and words, without names."""
    frames = [
        f"{Path(frame.filename).name}:{frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    words = re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)|\[[^]]*\]|\{[^}]*\}", "_", str(error))
    words = re.sub(r"[\w./:-]*[\d/][\w./:-]*", "_", " ".join(words.split()))[:100]
    place = f" in {frames[-1]}" if frames else ""
    return f"raises {type(error).__name__}{place}: {words}"


def describe(suspect: Any) -> str:
    """Say what is asked of a case."""
    return str(suspect) if isinstance(suspect, Steps) else "the check"
