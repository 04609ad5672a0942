"""A lowered network against its graph on the reference runtime: right, or an error and no network.

The tolerances are those of passes (`passes/trust/judge`), for the precision that was asked for.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.errors import BackendError, PlanishError, VerificationError
from ...ir.core.variables import label, node_key
from ...ir.run.given_feeds import require_feeds
from ...passes.engine.context import Feeds
from ...passes.trust.blame import first_wrong
from ...passes.trust.reproduce import write_reproducer
from ...passes.trust.verdict import verdict_line
from ...passes.trust.verify import Verifier
from .backend import Compiled

Lower = Callable[[gs.Graph], Compiled]


def verify_lowered(
    compiled: Compiled,
    graph: gs.Graph,
    lower: Lower,
    *,
    name: str,
    command: str = "",
    feeds: Feeds | None = None,
    seed: int = 0,
    reproducer: Path | None = None,
) -> None:
    """Compare `compiled`, which is `graph` lowered by `lower`, and note the verdict in it.

    On `feeds`, or on inputs that are drawn. Raises VerificationError, naming the first node whose
    results are wrong and a reproducer, written to the folder `reproducer`, where they differ by
    more than rounding; `command`: the options of `planish compile` that lower it so. `name`: that
    of the backend.
    """
    require_feeds(feeds, graph)
    verifier = Verifier(graph, feeds, seed, precision=compiled.precision)
    what = f"lowering to {name}"
    if not verifier.active:
        compiled.verdict = verdict_line(False, None, None, verifier.remark)
        return
    try:
        error = verifier.check_run(_runnable(compiled), graph, what)
    except _CannotRunError as problem:
        compiled.verdict = verdict_line(False, None, None, str(problem))
        return
    except VerificationError as problem:
        blame = _blame(graph, lower, verifier.feeds, seed, what)
        part = graph if blame is None else blame[1]
        folder = write_reproducer(reproducer, part, "exact", verifier.feeds)
        words = [str(folder / "before.onnx"), "-o", str(folder / "compiled"), "--backend", name]
        words += ["--feeds", str(folder / "feeds.npz")]
        node = "no beginning of the graph is wrong by itself"
        if blame is not None:
            node = f"the first node whose result is wrong is {label(blame[0])}"
            kernels = _kernels(compiled, lower, *blame)
            node += f", computed by {' and '.join(kernels)}" if kernels else ""
        raise problem.with_message(
            f"{problem}; {node}; reproduce with: planish compile {shlex.join(words)} {command}",
            node=None if blame is None else label(blame[0]),
            reproducer=folder,
        ) from problem
    compiled.verdict = verdict_line(verifier.telling, error, verifier.tolerance, verifier.remark)


class _CannotRunError(Exception):
    """What was lowered is code for another machine."""


def _runnable(compiled: Compiled) -> Callable[[Mapping[str, np.ndarray[Any, Any]]], Any]:
    def run(feed: Mapping[str, np.ndarray[Any, Any]]) -> Any:
        try:
            return compiled(feed)
        except BackendError as error:
            raise _CannotRunError(str(error)) from error

    return run


def _kernels(compiled: Compiled, lower: Lower, node: gs.Node, part: gs.Graph) -> tuple[str, ...]:
    """Return what computes `node` in the network, else what does in `part`, which ends with it."""
    found = compiled.kernels_of(node_key(node))
    if found:
        return found
    try:
        return lower(part).kernels_of(None)
    except PlanishError:
        return ()


def _blame(
    graph: gs.Graph,
    lower: Lower,
    feeds: list[Mapping[str, np.ndarray[Any, Any]]],
    seed: int,
    what: str,
) -> tuple[gs.Node, gs.Graph] | None:
    def is_wrong(part: gs.Graph) -> bool:
        try:
            if not part.outputs:
                return False
            names = {tensor.name for tensor in part.inputs}
            given = [{name: feed[name] for name in feed if name in names} for feed in feeds]
            lowered = lower(part)
            verifier = Verifier(part, given, seed, precision=lowered.precision)
            if verifier.active:
                verifier.check_run(lowered, part, what)
        except VerificationError:
            return True
        except PlanishError:  # a beginning that cannot be lowered says nothing
            return False
        return False

    return first_wrong(graph, is_wrong)
