"""Which step makes numbers wrong: the file, an edit of planish, the runtime and what of it.

reference runtime, optimizations off   beside   onnx.reference     the file and its kernels
pipeline                               beside   reference runtime  planish's edits
runtime, and its ways one by one       beside   reference runtime  optimizer, threads, precision
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx
import onnx_graphsurgeon as gs

from ...backends.contract.backend_text import BackendText
from ...backends.contract.registry import get_backend
from ...ir.core.errors import BackendOptionError, PlanishError
from ...ir.core.variables import label
from ...ir.files.load import load
from ...ir.files.save import to_model
from ...passes.pipeline.pipeline import Pipeline
from ...passes.trust.bisect import bisect
from ...passes.trust.blame import first_wrong
from ..reduce.apart import Limits, run_apart
from ..reduce.case import Case
from ..reduce.known import learn
from ..reduce.suspects import Crash, Suspect, Wrong
from .diagnosis import Diagnosis, Finding
from .oracle import ask_oracle
from .sound import look_at_file
from .variants import Blame, blame

_LIMITS = Limits(seconds=300.0)


def examine(
    cases: Sequence[Case],
    *,
    backend: str = "onnxruntime",
    pipeline: str = "",
    target: str = "cpu",
    threads: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    limits: Limits | None = _LIMITS,
    progress: Callable[[str], None] = lambda step: None,
) -> Diagnosis:
    """Return who makes the outputs of a model wrong, which is the same in all `cases`.

    The cases differ in their feeds; the first that shows a fault is looked into. Every step runs in
    processes of its own within `limits`, so that a crash is an answer, or without limits in this
    one. Raises RefusedError where an approximate pipeline comes without a tolerance, and
    BackendError where the runtime or its options are unknown.
    """
    get_backend(BackendText.parse(backend).name)
    steps = _Examination(limits, progress, backend)
    who = Wrong(
        pipeline=pipeline,
        backend=backend,
        target=target,
        threads=threads,
        seed=seed,
        tolerance=tolerance,
    )
    first = learn(cases[0], limits, seed)[0]
    cases = [first, *cases[1:]]
    return (
        steps.file(first)
        or steps.oracle(first)
        or (steps.edits(cases, replace(who, backend="")) if pipeline else None)
        or steps.runtime(cases, who)
        or Diagnosis(findings=tuple(steps.findings))
    )


class _Examination:
    def __init__(self, limits: Limits | None, progress: Callable[[str], None], asked: str) -> None:
        self._asked = asked
        self.findings: list[Finding] = []
        self._limits, self._progress = limits, progress

    def file(self, case: Case) -> Diagnosis | None:
        """Ask whether the file is sound."""
        self._progress("looking at the file")
        found, node = look_at_file(case, self._limits)
        self.findings.append(found)
        if found.verdict != "wrong":
            return None
        return self._end(f"the file: {found.text}", node, "export the model again, or mend it")

    def oracle(self, case: Case) -> Diagnosis | None:
        """Ask who shares no code with ONNX Runtime."""
        self._progress("running another evaluator")
        found, node = ask_oracle(case, self._limits)
        self.findings.append(found)
        if found.verdict != "wrong":
            return None
        culprit = f"a kernel of ONNX Runtime, or of {found.step}: they mean different things"
        return self._end(culprit, node, "ask a third one, such as PyTorch, what the node gives")

    def edits(self, cases: Sequence[Case], suspect: Wrong) -> Diagnosis | None:
        """Ask planish's pipeline."""
        self._progress(f"running {suspect}")
        step = str(suspect)
        case, said = self._first(cases, suspect)
        if case is None:
            failed = run_apart(lambda: _failures(cases[0], suspect), self._limits).value
            if failed:
                return self._rolled_back(failed, cases[0], suspect)
            self.findings.append(Finding(step, "right", "its result gives the model's outputs"))
            return None
        self.findings.append(Finding(step, "wrong", said))
        self._progress("searching the edit")
        culprit = run_apart(lambda: _culprit(case, suspect), self._limits).value
        told = f"planish: {culprit[0]}" if culprit else f"planish: {step}"
        node = culprit[1] if culprit else ""
        return self._end(told, node, "report it with a reduced model", suspect, case)

    def _rolled_back(self, failed: Sequence[str], case: Case, suspect: Wrong) -> Diagnosis:
        """Tell what passes raised; their result is right, for it is without them."""
        for each in failed:
            self.findings.append(Finding(str(suspect), "wrong", each))
        raises = Crash(pipeline=suspect.pipeline, target=suspect.target, seed=suspect.seed)
        advice = "leave the pass out, and report it with a reduced model"
        return self._end(f"planish: {failed[0]}", "", advice, raises, case)

    def runtime(self, cases: Sequence[Case], who: Wrong) -> Diagnosis | None:
        """Ask the runtime, and where it is wrong, what of it."""
        self._progress(f"running {who.backend}")
        step = f"runtime '{who.backend}'"
        case, said = self._first(cases, who)
        if case is None:
            self.findings.append(Finding(step, "right", "it gives the model's outputs"))
            return None
        self.findings.append(Finding(step, "wrong", said))
        suspect = replace(who, pipeline="")
        if who.pipeline:
            case = self._passed(case, who)
        self._progress("trying the runtime in other ways")
        found, tried = blame(suspect, lambda other: self._says(case, other))
        for what, each in tried:
            self.findings.append(Finding(f"  {what}", "wrong" if each else "right", each))
        self._progress("searching the first node")
        node = self._first_node(case, suspect)
        return self._end(_named(found, who), node, _advice(found, who), suspect, case)

    def _end(
        self,
        culprit: str,
        node: str,
        advice: str,
        suspect: Suspect | None = None,
        case: Case | None = None,
    ) -> Diagnosis:
        return Diagnosis(
            findings=tuple(self.findings),
            culprit=culprit,
            node=node,
            advice=advice,
            suspect=suspect,
            case=case,
        )

    def _first(self, cases: Sequence[Case], suspect: Wrong) -> tuple[Case | None, str]:
        for case in cases:
            said = self._says(case, suspect)
            if said:
                return case, said
        return None, ""

    def _says(self, case: Case, suspect: Wrong) -> str:
        found = run_apart(lambda: suspect(case), self._limits)
        if found.error:  # as of a backend that lacks an operator
            told = found.error.strip().splitlines()[-1]
            if suspect.backend == self._asked and BackendOptionError.__name__ in found.how:
                raise BackendOptionError(told.partition(": ")[2])
            return told
        return found.how or found.value or ""

    def _passed(self, case: Case, who: Wrong) -> Case:
        made = run_apart(lambda: _passed(case, who).SerializeToString(), self._limits).value
        return case if made is None else Case(onnx.ModelProto.FromString(made), case.feed)

    def _first_node(self, case: Case, suspect: Wrong) -> str:
        def is_wrong(part: gs.Graph) -> bool:
            if not part.outputs:
                return False
            names = {tensor.name for tensor in part.inputs}
            feed = {name: array for name, array in case.feed.items() if name in names}
            return bool(self._says(Case(to_model(part), feed), suspect))

        try:
            found = first_wrong(load(case.model), is_wrong)
        except PlanishError:
            return ""
        return "" if found is None else label(found[0])


def _culprit(case: Case, suspect: Wrong) -> tuple[str, str] | None:
    found = bisect(
        Pipeline.parse(suspect.pipeline),
        load(case.model),
        [case.feed] if case.feed else None,
        seed=suspect.seed,
    )
    if found is None:
        return None
    words = f"edit {found.edit_in_pass} of pass '{found.pass_name}' ({found.message})"
    return words, ", ".join(found.nodes)


def _failures(case: Case, suspect: Wrong) -> list[str]:
    feeds = [case.feed] if case.feed else None
    steps = Pipeline.parse(suspect.pipeline)
    result = steps.run(load(case.model), feeds, "off", seed=suspect.seed, strict=False)
    return [str(failure) for failure in result.failures]


def _passed(case: Case, who: Wrong) -> onnx.ModelProto:
    return to_model(who.passed(load(case.model), case, strict=False))


def _named(found: Blame | None, who: Wrong) -> str:
    return f"runtime '{who.backend}'" if found is None else found.what


def _advice(found: Blame | None, who: Wrong) -> str:
    if found is None:
        return "take another runtime, and report it with a reduced model"
    if found.right.backend != who.backend:
        return f"right with --backend '{BackendText.parse(found.right.backend)}'"
    return f"right with {found.advice}"
