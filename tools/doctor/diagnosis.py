"""What was looked at, and what it said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..reduce.case import Case
from ..reduce.suspects import Suspect

Verdict = Literal["right", "wrong", "untold"]


@dataclass(frozen=True)
class Finding:
    """One question, its answer, and in words what the answer rests on."""

    step: str
    verdict: Verdict
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Everything that was asked, in order, and who is the culprit; "" for nobody.

    `node`: the first one whose output differs. `advice`: what avoids the fault. `suspect` and
    `case`: what `reduce` makes small.
    """

    findings: tuple[Finding, ...]
    culprit: str = ""
    node: str = ""
    advice: str = ""
    suspect: Suspect | None = None
    case: Case | None = None
