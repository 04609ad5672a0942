"""What must hold of the preset `exact` on one random graph."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort

import planish

from .certified import claims_of, nothing_run, problem_of
from .judge import Judge
from .oracles import settles
from tests.strategies.random_graphs import Drawn
from tests.strategies.random_graphs.builder import info
from tests.strategies.random_graphs.evaluate import run_session, session_of

Array = np.ndarray
# "certify": without running anything, which "prove" does as well.
Verify = Literal["off", "end", "certify", "prove"]


@dataclass(frozen=True)
class Fault:
    """What does not hold: one word for its kind, a sentence, and the position of the feed."""

    kind: str
    text: str
    feed: int = 0

    @property
    def signature(self) -> str:
        """What faults of one cause mostly share: the text without names and numbers."""
        return f"{self.kind}: {nameless(self.text)}"

    @property
    def told_by(self) -> str:
        """The kind, and of what raises the class of the error."""
        return f"{self.kind} {self.text.partition(':')[0]}" if self.kind == "raises" else self.kind


@dataclass(frozen=True)
class Report:
    """The fault, if any, the edits, and the outputs of which rounding leaves nothing to tell.

    `refused`: the sentence with which a backend refused the graph. `settled`: who finds no fault,
    each time that ONNX Runtime's answers would be one. `claims`: how many edits have each claim of
    a certificate.
    """

    fault: Fault | None
    edits: int = 0
    undecided: int = 0
    refused: str = ""
    settled: tuple[str, ...] = ()
    claims: Mapping[str, int] = field(default_factory=dict)


def check(drawn: Drawn, *, pipeline: str = "exact", verify: Verify = "off") -> Report:
    """Run `pipeline` and say what does not hold; "proved" is wrong although it was proved.

    Values that are right where 0.0 and -0.0 are told apart are no fault, as the default confuses
    them; they count as undecided.
    """
    found = _check(drawn, pipeline, verify, signed_zeros=False)
    if found.fault is None or found.fault.kind not in ("floats", "integers", "proved"):
        return found
    if _check(drawn, pipeline, verify, signed_zeros=True).fault is not None:
        return found
    return replace(found, fault=None, undecided=found.undecided + 1)


def _check(drawn: Drawn, pipeline: str, verify: Verify, *, signed_zeros: bool) -> Report:
    steps = planish.Pipeline.parse(pipeline)
    certified = verify == "certify"
    try:
        graph = planish.load(drawn.model)
        with nothing_run() if certified else contextlib.nullcontext():
            result = steps.run(
                graph,
                verify="prove" if certified else verify,
                strict=True,
                signed_zeros=signed_zeros,
            )
        own, portable = (planish.to_model(result.graph, portable=p) for p in (False, True))
    except Exception as error:
        return Report(Fault("raises", told(error)))
    models = [own] if own == portable else [own, portable]
    judge = Judge(drawn.model)
    fault = (
        _structure(drawn.model, models)
        or _values(drawn, models, judge)
        or _again(steps, result, models, signed_zeros)
    )
    certificate = result.certificate
    if certificate is not None:
        fault = _of_certificate(drawn.model, own, certificate, fault)
    return Report(
        fault,
        result.edits,
        len(judge.undecided),
        settled=tuple(judge.settled),
        claims={} if certificate is None else claims_of(certificate),
    )


def _of_certificate(
    before: onnx.ModelProto,
    after: onnx.ModelProto,
    certificate: planish.Certificate,
    fault: Fault | None,
) -> Fault | None:
    if fault is None:
        problem = problem_of(before, after, certificate)
        return Fault("certificate", problem) if problem else None
    if fault.kind in ("floats", "integers") and not certificate.open_outputs:
        return replace(fault, kind="proved", text=f"proved, and {fault.text}")
    return fault


def interface_fault(before: onnx.ModelProto, after: onnx.ModelProto) -> Fault | None:
    """Say whether inputs or outputs of a model are others."""
    told = _sized_by_others(before)
    for ends in ("input", "output"):
        wanted, found = (_ends(m, ends, told) for m in (before, after))
        if wanted != found:
            return Fault("interface", f"{ends}s changed")
    return None


def _structure(before: onnx.ModelProto, models: list[onnx.ModelProto]) -> Fault | None:
    for model in models:
        if _checked(before) is None and (problem := _checked(model)) is not None:
            return Fault("malformed", problem)
        if fault := interface_fault(before, model):
            return fault
    return None


def _sized_by_others(model: onnx.ModelProto) -> set[str]:
    """Return the names of inputs and constants: as outputs they have the sizes of these."""
    nodes = (node for node in model.graph.node if node.op_type == "Constant")
    names = {name for node in nodes for name in node.output}
    return names | {t.name for t in (*model.graph.initializer, *model.graph.input)}


def _ends(model: onnx.ModelProto, field: str, told: set[str]) -> list[onnx.ValueInfoProto]:
    """Return inputs or outputs, but for initializers listed as of IR version 3: no inputs."""
    if field == "output":
        return [info(v.name, None) if v.name in told else v for v in model.graph.output]
    old = {t.name for t in model.graph.initializer} if model.ir_version < 4 else ()
    return [value for value in model.graph.input if value.name not in old]


def _checked(model: onnx.ModelProto) -> str | None:
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        return str(error)
    return None


def is_valid(model: onnx.ModelProto) -> bool:
    """Say whether ONNX's checker takes a model."""
    return _checked(model) is None


def _values(drawn: Drawn, models: list[onnx.ModelProto], judge: Judge) -> Fault | None:
    for model in models:
        try:
            session = session_of(model)
        except Exception as error:
            return Fault("refused", told(error))
        for position, (feed, outputs) in enumerate(zip(drawn.feeds, drawn.outputs, strict=True)):
            fault = _differs(model, session, feed, outputs, judge)
            if fault is None:
                continue
            who = settles(judge, feed, outputs, lambda ask, model=model: ask(model), model)
            if not who:
                return replace(fault, feed=position)
            judge.settled.append(who)
    return None


def _differs(
    model: onnx.ModelProto,
    session: ort.InferenceSession,
    feed: Mapping[str, Array],
    outputs: Mapping[str, Array],
    judge: Judge,
) -> Fault | None:
    try:
        found = run_session(session, feed)
    except Exception as error:
        return Fault("refused", told(error))
    fault = judge.differs(feed, outputs, found, model)
    return Fault(*fault) if fault else None


def _again(
    steps: planish.Pipeline,
    result: planish.Result,
    models: list[onnx.ModelProto],
    signed_zeros: bool,
) -> Fault | None:
    for graph in [result.graph, *([planish.load(models[1])] if len(models) > 1 else [])]:
        again = steps.run(graph, verify="off", strict=True, signed_zeros=signed_zeros)
        if again.edits:
            names = [record.name for record in again.records if record.edits]
            return Fault("again", f"a second run edits in {', '.join(names)}")
    return None


def nameless(text: str) -> str:
    """Return `text` without the names of tensors and nodes, and without numbers."""
    return re.sub(r"'[^']*'|\b[0-9a-f]{32}\b|\b[ntxy]\d+(_\d+)*\b|-?\b\d[\w.+]*(-\d+)?", "_", text)[
        :160
    ]


def told(error: Exception) -> str:
    """Return what an error says, in one line, and where it was raised."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())[:400]
    return f"{type(error).__name__}: {text} ({where.filename.rpartition('/')[2]}:{where.lineno})"


def saved(model: onnx.ModelProto, pipeline: str = "exact") -> bytes:
    """Return the bytes of what `pipeline` makes of `model`."""
    graph = planish.Pipeline.parse(pipeline).run(planish.load(model), verify="off").graph
    return planish.to_model(graph).SerializeToString(deterministic=True)
