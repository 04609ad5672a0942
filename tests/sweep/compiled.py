"""What must hold of one random graph that TVM compiled: ONNX Runtime's answers, or a sentence.

No kernel is found wrong either, though its nodes are given to ONNX Runtime.

A graph is compiled in one of several ways, its seed's: for an instruction set, a number of threads,
as one call or as calls of its kernels. Sets that the machine lacks keep their layouts and loops and
run on what it has.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import onnx
import pytest

import planish
from planish.backends.tvm.check.report import WrongKernelWarning

from .check import Array, Fault, Report, told
from .judge import Judge
from .oracles import settles
from tests.backends.tvm.instructions import make_runnable
from tests.strategies.random_graphs import Drawn

Run = Callable[[Any], Any]

# The set of this machine, twice as likely; others have vectors half and twice as long.
_SETS = ("", "", "neon", "avx512-vnni")


@dataclass(frozen=True)
class Way:
    """How a graph is compiled; `isa` is empty for this machine's, `apart` for calls of kernels."""

    isa: str = ""
    threads: int = 1
    apart: bool = False

    @classmethod
    def of(cls, number: int) -> Way:
        """Return the way of the graph of that number."""
        rng = Random(f"way {number}")
        return cls(rng.choice(_SETS), rng.choice((1, 2)), rng.random() < 0.25)


def check_compiled(drawn: Drawn, way: Way | None = None) -> Report:
    """Compile a graph and say what does not hold; a refusal is no fault, but is reported."""
    with _target(way := way or Way()) as target:
        try:
            runs = _compiled(drawn.model, target, way)
        except planish.BackendError as error:
            return Report(None, refused=_sentence(error))
        except Exception as error:
            return Report(Fault("raises", told(error)))
        judge = Judge(drawn.model)
        fault = next(filter(None, (_differs(drawn, run, judge) for run in runs)), None)
    return Report(fault, undecided=len(judge.undecided), settled=tuple(judge.settled))


@contextmanager
def _target(way: Way) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        yield make_runnable(way.isa, patch) if way.isa else "cpu"


def _compiled(model: onnx.ModelProto, target: str, way: Way) -> list[Run]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", WrongKernelWarning)
        compiled = planish.lower(planish.load(model), "tvm", target, way.threads)
    return [compiled, *([compiled.calls_apart()] if way.apart else [])]


def _differs(drawn: Drawn, run: Run, judge: Judge) -> Fault | None:
    """Run each feed twice, for memory of the first run is used again."""
    for position, (feed, wanted) in enumerate(zip(drawn.feeds, drawn.outputs, strict=True)):
        for _ in range(2):
            try:
                found = run(feed)
            except Exception as error:
                return Fault("raises", told(error), position)
            _run_on_nothing(run, feed)
            fault = judge.differs(feed, wanted, found, None)
            if fault is None:
                continue
            who = settles(judge, feed, wanted, lambda _, found=found: found, None)
            if not who:
                return Fault(*fault, position)
            judge.settled.append(who)
    return None


def _run_on_nothing(run: Run, feed: Mapping[str, Array]) -> None:
    """Run on zeros: what was returned before is not to change with it."""
    with suppress(planish.PlanishError):  # zeros may be no sizes or indices
        run({name: np.zeros_like(values) for name, values in feed.items()})


def _sentence(error: planish.BackendError) -> str:
    """Return what an error says, without the names of tensors and nodes."""
    return re.sub(r"'[^']*'|\b[nt]\d+(_\d+)?\b", "_", str(error))
