"""Delta reduction of a model: nodes, sizes, values, attributes and names.

The search halves first, then takes chunks away (Zeller and Hildebrandt, Simplifying and Isolating
Failure-Inducing Input, 2002), over candidates that know what a graph is. It can be stopped at any
time: the best case so far shows the fault.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import onnx

from ...ir.core.errors import PassError
from .anonymous import make_anonymous
from .apart import HANGS, Ended, Limits, run_apart
from .attributes import reduce_attributes
from .case import Case
from .functions import inline_functions, reduce_functions
from .known import learn, run_reference
from .nodes import reduce_nodes, reduce_parts
from .search import DeltaSearch, OutOfTimeError
from .sizes import reduce_sizes
from .suspects import Suspect
from .weights import replace_values

_MOST_ROUNDS = 4
_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Reduced:
    """A smaller case with the fault `shows`, in words; `was` is the one that was given.

    `stopped`: whether the time was over, or a person ended it. `kept`: the constants and feeds that
    are as they were, because the fault shows on their values alone. `has_names`: whether names are
    still those of the model.
    """

    case: Case
    was: Case
    shows: str
    tries: int
    seconds: float
    stopped: bool = False
    kept: tuple[str, ...] = ()
    has_names: bool = False

    @property
    def is_anonymous(self) -> bool:
        """Whether neither names nor values are those of the model that was given."""
        return not self.has_names and not self.kept and not self.stopped


def reduce(
    case: Case,
    suspect: Suspect,
    *,
    limits: Limits | None = _LIMITS,
    seconds: float | None = None,
    most_tries: int | None = None,
    seed: int = 0,
    progress: Callable[[Case, str], None] = lambda case, how: None,
) -> Reduced:
    """Return a smaller case for which `suspect` says the same, in words, as for `case`.

    Each candidate is judged in a process of its own within `limits`: a crash, or an end that does
    not come, is what the suspect says then. Without limits it is judged in this process. Where the
    reference runtime runs `case`, and ONNX's checker takes it, so it is with the result. `seconds`:
    for all of it; `progress` is told of every better case and what made it so. Ctrl-C ends the
    search as time does. Raises PassError where `case` shows no fault, or not twice.
    """
    started = time.monotonic()
    learned, known = learn(case, limits, seed)
    valid = known.runs and _is_valid(case.model)
    first = _judged(learned, suspect, limits)
    if first.error:
        raise PassError(f"nothing can be said of the model: {first.error.strip().splitlines()[-1]}")
    told = first.how or first.value
    if not told:
        raise PassError(
            "the fault does not show in the model as it is given; look at the suspect, and give "
            "feeds on which it shows"
        )
    if told != HANGS:
        again = _judged(learned, suspect, limits)
        if (again.how or again.value) != told:
            raise PassError(
                f"the fault comes and goes: of the same model it is first '{told}', then "
                f"'{again.how or again.value or 'no fault'}'; make the suspect say the same twice, "
                "with a seed or one thread"
            )

    def shows(smaller: Case) -> bool:
        found = run_apart(lambda: _says(smaller, suspect, told, valid), limits)
        if found.error or not found.how:
            return bool(found.value)
        return found.how == told and (
            not valid or bool(run_apart(lambda: _runs(smaller), limits).value)
        )

    search = DeltaSearch(
        learned,
        known,
        shows,
        progress,
        seconds,
        most_tries,
    )
    stopped, names, kept = False, True, _all_values(learned)
    try:
        inline_functions(search, limits, seed)
        reduce_parts(search)
        names = not _renamed(search)
        _shrink(search, limits, seed)
        kept = replace_values(search, seed)
        search.best, search.known = learn(search.best, limits, seed)
        _shrink(search, limits, seed)
        renamed = make_anonymous(search)
        if renamed is not None:
            names, kept = False, [renamed[name] for name in kept if name in renamed]
    except (OutOfTimeError, KeyboardInterrupt):
        stopped = True
    return Reduced(
        case=search.best,
        was=case,
        shows=told,
        tries=search.tries,
        seconds=time.monotonic() - started,
        stopped=stopped,
        kept=tuple(kept),
        has_names=names,
    )


def first_showing(cases: Iterable[Case], suspect: Suspect, limits: Limits | None) -> Case | None:
    """Return the first of `cases` in which the suspect finds a fault; None where it finds none."""
    for case in cases:
        found = _judged(case, suspect, limits)
        if found.how or found.value:
            return case
    return None


def _renamed(search: DeltaSearch) -> bool:
    names = make_anonymous(search)
    search.known = search.known.renamed(names or {})
    return names is not None


def _shrink(search: DeltaSearch, limits: Limits | None, seed: int) -> None:
    """Reduce what can be until nothing can."""
    for again in range(_MOST_ROUNDS):
        before = search.best
        if again:
            reduce_parts(search)
        reduce_nodes(search)
        reduce_functions(search, limits, seed)
        reduce_attributes(search)
        reduce_sizes(search)
        if search.best is before:
            return
        search.best, search.known = learn(search.best, limits, seed)


def _judged(case: Case, suspect: Suspect, limits: Limits | None) -> Ended[str]:
    return run_apart(lambda: suspect(case), limits)


def _says(case: Case, suspect: Suspect, told: str, valid: bool) -> bool:
    return suspect(case) == told and (not valid or _runs(case))


def _runs(case: Case) -> bool:
    onnx.checker.check_model(case.model)
    run_reference(case)
    return True


def _is_valid(model: onnx.ModelProto) -> bool:
    try:
        onnx.checker.check_model(model)
    except Exception:  # a checker of C++
        return False
    return True


def _all_values(case: Case) -> list[str]:
    return [tensor.name for tensor in case.model.graph.initializer]
