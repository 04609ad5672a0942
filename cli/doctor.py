"""`planish doctor`: who makes a model's numbers wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..ir.core.atomic import require_writable
from ..ir.core.errors import PassError
from ..ir.files.data_file import require_spared
from ..tools.doctor.diagnosis import Diagnosis
from ..tools.doctor.examine import examine
from ..tools.doctor.slower import why_slower
from ..tools.reduce.apart import Limits
from ..tools.reduce.keeper import Keeper
from ..tools.reduce.reduce import reduce
from .exit_codes import DIFFERENCE
from .feeds import NO_FEEDS, FeedOptions, takes_feeds
from .files import load, model_file
from .options import JsonOption, ModelFile, SeedOption, ThreadsOption, refuse_unread
from .show.console import err, print_json, print_plain, teller
from .show.progress import status_line
from .suspect_cases import cases_of

_MARKS = {"right": "right ", "wrong": "WRONG ", "untold": "untold"}


@takes_feeds
def doctor(
    model: ModelFile,
    runtime: Annotated[str, typer.Option(help="Where it is wrong or slow.")] = "onnxruntime",
    pipeline: Annotated[
        str | None, typer.Option("-p", "--pipeline", help="What planish did to it before.")
    ] = None,
    faster: Annotated[
        Path | None,
        typer.Option(help="A model that was faster: tell what the runtime fused there alone."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where a reduced model with the fault goes."),
    ] = None,
    target: Annotated[str, typer.Option(help="What the runtime compiles for.")] = "cpu",
    threads: ThreadsOption = None,
    tolerance: Annotated[
        float | None, typer.Option(help="The part of an output's range beyond which it is wrong.")
    ] = None,
    limit_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds that one step may take.")
    ] = 300.0,
    given: FeedOptions = NO_FEEDS,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Find who makes outputs wrong: the file, an edit of planish, the runtime, and what of it.

    Or, with --faster, which fusion of ONNX Runtime was lost. Exit with 1 where there is a culprit.
    """
    if faster is not None:
        refuse_unread(
            "--faster compares two models on ONNX Runtime",
            pipeline=pipeline,
            output=output,
            tolerance=tolerance,
        )
        with status_line(err, "optimizing both"):
            lost = why_slower(load(faster), load(model), threads)
        if as_json:
            print_json({"lost": [{"operator": k, "nodes": list(v)} for k, v in lost.items()]})
        else:
            for operator, nodes in lost.items():
                print_plain(f"{operator}: not fused as before: {', '.join(nodes)}")
            if not lost:
                print_plain("nothing that was fused is lost")
        raise typer.Exit(DIFFERENCE if lost else 0)
    if output is not None:
        require_writable(output)
        require_spared(output, model_file(model))
    limits = Limits(seconds=limit_seconds)
    cases = cases_of(model_file(model), given, seed, teller(as_json=as_json))
    with status_line(err, "looking") as update:
        found = examine(
            cases,
            backend=runtime,
            pipeline=pipeline or "",
            target=target,
            threads=threads,
            tolerance=tolerance,
            seed=seed,
            limits=limits,
            progress=update,
        )
        written = _reduced(found, output, limits, seed)
    if as_json:
        print_json(_as_json(found, model, written))
    else:
        for line in _told(found, written):
            print_plain(line)
    if found.culprit:
        raise typer.Exit(DIFFERENCE)


def _reduced(found: Diagnosis, output: Path | None, limits: Limits, seed: int) -> Path | None:
    if output is None or found.suspect is None or found.case is None:
        return None
    try:
        small = reduce(found.case, found.suspect, limits=limits, seed=seed)
    except PassError:  # a fault that comes and goes
        return None
    Keeper(output, found.suspect).write(small.case, small.shows)
    return output


def _told(found: Diagnosis, written: Path | None) -> list[str]:
    lines = [f"{_MARKS[each.verdict]} {each.step}: {each.text}" for each in found.findings]
    if not found.culprit:
        return [*lines, "nothing is wrong"]
    lines.append(f"culprit: {found.culprit}")
    if found.node:
        lines.append(f"first node whose output differs: {found.node}")
    lines.append(f"what to do: {found.advice}")
    if written is not None:
        lines.append(f"written: '{written}', reduced, and '{written.with_suffix('.py')}'")
    return lines


def _as_json(found: Diagnosis, model: Path, written: Path | None) -> dict[str, object]:
    return {
        "model": str(model),
        "culprit": found.culprit or None,
        "node": found.node or None,
        "advice": found.advice or None,
        "findings": [
            {"step": each.step.strip(), "verdict": each.verdict, "text": each.text}
            for each in found.findings
        ],
        "reduced": None if written is None else str(written),
    }
