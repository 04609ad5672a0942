"""What must hold of a certificate: its own checker takes it, of the two models as they are saved.

Whether what is proved also is what runs, the sweep asks ONNX Runtime, as of everything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import pytest

import planish
from planish.ir.core.errors import CertificateError
from planish.passes.pipeline.run import proving
from planish.passes.pipeline.run.verification import Verification


@contextmanager
def nothing_run() -> Iterator[None]:
    """Have `verify="prove"` run neither model, which takes twice as long as all else of it.

    For the sweep, which runs both on feeds of its own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proving, "refute", lambda *_, **__: None)
        patch.setattr(Verification, "start_anew", lambda *_, **__: None)
        yield


def problem_of(before: onnx.ModelProto, after: onnx.ModelProto, told: planish.Certificate) -> str:
    """Return what is wrong with a certificate; empty where it holds."""
    try:
        planish.check_certificate(before, after, told)
    except CertificateError as error:
        return f"its checker refuses it: {error}"
    return ""


def claims_of(told: planish.Certificate) -> Counter[str]:
    """Return how many edits have each claim."""
    return Counter(edit.claim for edit in told.edits)
