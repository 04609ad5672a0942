"""What a sweep can be over: `exact` and `int8` on graphs of all kinds, and TVM on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from .check import Fault, Report, check, saved
from .compiled import Way, check_compiled
from .foreign import by_nnsmith
from .grammar import by_grammar
from .quantized import check_quantized
from tests.strategies.random_graphs import KINDS, Drawn, graph
from tests.strategies.tvm import draw_graph

# One in so many graphs is optimized twice, and one is proved with all that a person's run does.
_TWICE, _PROVED = 10, 20


@dataclass(frozen=True)
class Subject:
    """How the graph of a number is drawn and checked, and how often while it is made smaller."""

    draw: Callable[[int], Drawn | None]
    check: Callable[[Drawn, int], Report]
    tries: int = 400


def _exact(drawn: Drawn, number: int) -> Report:
    found = check(drawn, verify="certify" if number % _PROVED else "prove")
    if found.fault is None and number % _TWICE == 0 and saved(drawn.model) != saved(drawn.model):
        fault = Fault("bytes", "saved bytes differ between two runs")
        return replace(found, fault=fault)
    return found


def _of_kind(kind: str, number: int) -> Drawn | None:
    return graph(kind, Random(f"{kind} {number}"))


SUBJECTS = {
    **{kind: Subject(partial(_of_kind, kind), _exact) for kind in KINDS},
    "grammar": Subject(lambda number: by_grammar(Random(f"grammar {number}")), _exact),
    "nnsmith": Subject(by_nnsmith, _exact),
    "int8": Subject(lambda number: _of_kind("convnet", number), check_quantized, tries=100),
    "tvm": Subject(
        lambda number: draw_graph(Random(f"tvm {number}")),
        lambda drawn, number: check_compiled(drawn, Way.of(number)),
        tries=60,
    ),
}


def fault_of(
    kind: str, number: int, drew: Callable[[], None] = lambda: None
) -> tuple[Drawn | None, Report]:
    """Return the graph of a number, None where none came out, and what was found.

    `drew` is called once the runtime has run the graph as it was drawn.
    """
    subject = SUBJECTS[kind]
    drawn = subject.draw(number)
    drew()
    return drawn, Report(None) if drawn is None else subject.check(drawn, number)
