"""The operator cases that ship with onnx, made once a run, in a second."""

from __future__ import annotations

import functools
import pickle
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

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
    from onnx.reference.ops import op_pool_common

    quick = mock.patch.object(op_pool_common, "pool", _at_once(op_pool_common.pool))
    with warnings.catch_warnings(), mock.patch.object(base, "process_snippet"), quick:
        warnings.simplefilter("ignore")  # some cases overflow on purpose while being made
        cases = [case for case in collect_testcases() if case.model is not None]
    (folder / "cases.pickle").write_bytes(pickle.dumps(cases))


def _at_once(pool: Callable[..., Any]) -> Callable[..., Any]:
    """Return onnx's reference of pooling; without pads and dilations all windows are taken at once.

    One by one those of three volumes take four fifths of the time of all cases.
    """

    def found(
        x: Any, shape: Any, kernel: Sequence[int], strides: Any, out: Any, kind: str,
        *pads: Any, **more: Any,
    ) -> Any:  # fmt: skip
        if pads or more.keys() - {"p"}:
            return pool(x, shape, kernel, strides, out, kind, *pads, **more)
        inner = tuple(range(2, x.ndim))
        steps = tuple(slice(None, None, step) for step in strides or [1] * len(inner))
        windows = np.lib.stride_tricks.sliding_window_view(x, tuple(kernel), inner)[:, :, *steps]
        last, p = tuple(range(-len(kernel), 0)), more.get("p", 1)
        match kind:
            case "AVG":
                y = windows.mean(last)
            case "MAX":
                y = windows.max(last)
            case "LPPOOL":
                y = (np.abs(windows) ** p).sum(last) ** (1 / p)
        return y.astype(x.dtype)

    return found
