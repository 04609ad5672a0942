"""The operator cases that ship with onnx, made once a run: their references take seconds."""

from __future__ import annotations

import functools
import pickle
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

from .shared import shared


@functools.cache
def operator_cases() -> list[Any]:
    """Return the cases that have a model; all who ask share them, so that nobody edits them."""
    folder = shared("the operator cases of onnx", _make)
    cases: list[Any] = pickle.loads((folder / "cases.pickle").read_bytes())
    return cases


def _make(folder: Path) -> None:
    from onnx.backend.test.case import base
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), mock.patch.object(base, "process_snippet"):
        warnings.simplefilter("ignore")  # some cases overflow on purpose while being made
        cases = [case for case in collect_testcases() if case.model is not None]
    (folder / "cases.pickle").write_bytes(pickle.dumps(cases))
