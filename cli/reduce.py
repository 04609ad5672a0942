"""`planish reduce`: a smaller model with the same fault."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..ir.core.atomic import require_writable
from ..ir.core.errors import PassError, PlanishError
from ..ir.core.user_function import load_function
from ..ir.files.data_file import require_spared
from ..tools.reduce.apart import Limits
from ..tools.reduce.case import Case
from ..tools.reduce.keeper import Keeper
from ..tools.reduce.reduce import Reduced, first_showing
from ..tools.reduce.reduce import reduce as reduce_case
from ..tools.reduce.suspects import Checked, Crash, Suspect, Wrong
from .feeds import NO_FEEDS, FeedOptions, takes_feeds
from .files import model_file
from .options import JsonOption, ModelFile, SeedOption, refuse_unread
from .show.console import err, print_json, print_plain, teller
from .show.progress import status_line
from .suspect_cases import cases_of

_MOST_NAMED = 5


@takes_feeds
def reduce(
    model: ModelFile,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="Where the smaller model goes; a script of that name beside it."
        ),
    ],
    check: Annotated[
        str | None,
        typer.Option(help="FILE.py:function of a ModelProto: whether the fault shows."),
    ] = None,
    wrong: Annotated[
        bool, typer.Option("--wrong", help="The fault: outputs that are not the model's.")
    ] = False,
    crash: Annotated[
        bool, typer.Option("--crash", help="The fault: an error, a crash or no end.")
    ] = False,
    pipeline: Annotated[
        str | None, typer.Option("-p", "--pipeline", help="The suspect: passes and presets.")
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="The suspect: a backend, with options in braces; behind -p, if given."),
    ] = None,
    target: Annotated[str, typer.Option(help="What the runtime compiles for.")] = "cpu",
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0, help="--wrong: the part of an output's range beyond which it is wrong."
        ),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop after so long; the best so far is kept.")
    ] = None,
    limit_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds that one candidate may take.")
    ] = Limits.seconds,
    limit_memory: Annotated[
        float, typer.Option(min=0, help="GiB that one candidate may take.")
    ] = Limits.memory / (1 << 30),
    given: FeedOptions = NO_FEEDS,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a model with a fault small: few nodes, small sizes, drawn weights, no names."""
    suspect = _suspect(check, wrong, crash, pipeline, runtime, target, tolerance, seed)
    require_writable(output)
    require_spared(output, model_file(model))
    limits = Limits(limit_seconds, int(limit_memory * (1 << 30)))
    cases = cases_of(model_file(model), given, seed, teller(as_json=as_json))
    case = _first(cases, suspect, limits)
    source = Path(check.rpartition(":")[0]).read_text(encoding="utf-8") if check else ""
    keeper = Keeper(output, suspect, source)
    with status_line(err, "reducing") as update:

        def show(best: Case, how: str) -> None:
            update(f"{best.nodes} nodes: {how}")
            keeper.see(best, "")

        found = reduce_case(case, suspect, limits=limits, seconds=seconds, seed=seed, progress=show)
    keeper.write(found.case, found.shows)
    if as_json:
        print_json(_as_json(found, model, keeper))
    else:
        for line in _told(found, model, keeper):
            print_plain(line)


def _suspect(
    check: str | None,
    wrong: bool,
    crash: bool,
    pipeline: str | None,
    runtime: str | None,
    target: str,
    tolerance: float | None,
    seed: int,
) -> Suspect:
    if (check is not None) + wrong + crash != 1:
        raise PlanishError("give one of --check, --wrong and --crash: what the fault is")
    if check is not None:
        refuse_unread(
            "--check is the suspect", pipeline=pipeline, runtime=runtime, tolerance=tolerance
        )
        return Checked(load_function(check, "--check"))
    if pipeline is None and runtime is None:
        raise PlanishError("nobody is suspected; give a pipeline, -p exact, or --runtime NAME")
    if crash:
        refuse_unread("--crash compares nothing", tolerance=tolerance)
        return Crash(pipeline=pipeline or "", backend=runtime or "", target=target, seed=seed)
    return Wrong(
        pipeline=pipeline or "",
        backend=runtime or "",
        target=target,
        seed=seed,
        tolerance=tolerance,
    )


def _first(cases: list[Case], suspect: Suspect, limits: Limits) -> Case:
    """Return the first sample on which the fault shows, where there are several."""
    found = first_showing(cases, suspect, limits) if len(cases) > 1 else cases[0]
    if found is None:
        raise PassError(f"the fault shows on none of {len(cases)} samples; give others")
    return found


def _told(found: Reduced, model: Path, keeper: Keeper) -> list[str]:
    before, after = (f"{len(c.model.SerializeToString()):,}" for c in (found.was, found.case))
    lines = [
        f"{model}: {found.was.nodes} nodes and {before} bytes -> {found.case.nodes} and {after}, "
        f"in {found.tries} tries and {found.seconds:.1f} s",
        f"the fault: {found.shows}",
    ]
    if found.stopped:
        lines.append("stopped before its end: this is the best so far")
    if found.is_anonymous:
        lines.append("names, weights and feeds are drawn: nothing of the model is left in it")
    else:
        kept = [*(["names"] if found.has_names else []), *(f"values of '{n}'" for n in found.kept)]
        shown = ", ".join(kept[:_MOST_NAMED])
        more = f" and {len(kept) - _MOST_NAMED} more" if len(kept) > _MOST_NAMED else ""
        lines.append(f"as in the model that was given, look before you share it: {shown}{more}")
    return [*lines, f"written: '{keeper.path}', and '{keeper.script}', which shows the fault"]


def _as_json(found: Reduced, model: Path, keeper: Keeper) -> dict[str, object]:
    return {
        "model": str(model),
        "output": str(keeper.path),
        "script": str(keeper.script),
        "fault": found.shows,
        "before": {"nodes": found.was.nodes, "bytes": len(found.was.model.SerializeToString())},
        "after": {"nodes": found.case.nodes, "bytes": len(found.case.model.SerializeToString())},
        "tries": found.tries,
        "seconds": found.seconds,
        "stopped": found.stopped,
        "anonymous": found.is_anonymous,
        "kept": list(found.kept),
    }
