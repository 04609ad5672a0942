"""`planish doctor`: who makes a model's numbers wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..ir.core.atomic import require_writable
from ..ir.core.errors import PassError
from ..ir.core.target import Target
from ..ir.files.data_file import require_spared
from ..ir.run.feeds import random_feeds
from ..tools.doctor.diagnosis import Diagnosis
from ..tools.doctor.examine import examine
from ..tools.doctor.slowdown import Slowdown, measure_slowdown
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
    measure: Annotated[
        bool,
        typer.Option("--measure", help="With --faster: time both, in turns, and their layers."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where a reduced model with the fault goes."),
    ] = None,
    target: Annotated[str, typer.Option(help="What the runtime compiles for.")] = "cpu",
    threads: ThreadsOption = None,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, help="The part of an output's range beyond which it is wrong."),
    ] = None,
    limit_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds that one step may take.")
    ] = 300.0,
    given: FeedOptions = NO_FEEDS,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Find who makes outputs wrong: the file, an edit of planish, the runtime, and what of it.

    Or, with --faster, which fusion of ONNX Runtime was lost, and with --measure what that takes.
    Exit with 1 where there is a culprit.
    """
    if faster is not None:
        refuse_unread(
            "--faster compares two models on ONNX Runtime",
            pipeline=pipeline,
            output=output,
            tolerance=tolerance,
        )
        _tell_slower(faster, model, threads, target if measure else None, given, seed, as_json)
        return
    if measure:
        refuse_unread("it times two models: give --faster", measure=measure)
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
        for line in _told(found, output, written):
            print_plain(line)
    if found.culprit:
        raise typer.Exit(DIFFERENCE)


def _tell_slower(
    faster: Path,
    model: Path,
    threads: int | None,
    target: str | None,
    given: FeedOptions,
    seed: int,
    as_json: bool,
) -> None:
    """Tell which fusion was lost, and with a target what that takes; exit with 1 where it is so."""
    before, now = load(faster), load(model)
    with status_line(err, "optimizing both") as update:
        lost = why_slower(before, now, threads)
        found = None
        if target is not None:
            update("timing both")
            feed = cases_of(model_file(model), given, seed, teller(as_json=as_json))[0].feed
            feed = feed or next(iter(random_feeds(now, seed=seed)))
            found = measure_slowdown(before, now, feed, _with_threads(target, threads), seed=seed)
    if as_json:
        told: dict[str, object] = {
            "lost": [{"operator": k, "nodes": list(v)} for k, v in lost.items()]
        }
        print_json(told if found is None else {**told, **asdict(found)})
    else:
        for line in _slower_lines(lost, found):
            print_plain(line)
    raise typer.Exit(DIFFERENCE if lost or (found is not None and found.is_slower) else 0)


def _with_threads(target: str, threads: int | None) -> str:
    if threads is None:
        return target
    asked = Target.parse(target)
    options = {**dict(asked.options), "threads": str(threads)}
    return str(Target(asked.kind, tuple(options.items())))


def _slower_lines(lost: Mapping[str, list[str]], found: Slowdown | None) -> list[str]:
    lines = [f"{op}: not fused as before: {', '.join(nodes)}" for op, nodes in lost.items()]
    lines = lines or ["nothing that was fused is lost"]
    if found is None:
        return lines
    if not found.is_slower:
        return [*lines, f"not known to be slower: {found.ratio} times the time of before"]
    lines.append(f"slower: {found.ratio} times the time of before")
    for each in found.layers:
        names, before = " + ".join(each.names), " + ".join(each.before)
        words = names if each.names == each.before else f"{names or 'nothing'} (before: {before})"
        words = words if before else f"{names} (not there before)"
        lines.append(f"  {1e3 * each.low:+.3f} to {1e3 * each.high:+.3f} ms  {words}")
    return lines if found.layers else [*lines, "  no layer alone is known to take longer"]


def _reduced(found: Diagnosis, output: Path | None, limits: Limits, seed: int) -> Path | None:
    if output is None or found.suspect is None or found.case is None:
        return None
    try:
        small = reduce(found.case, found.suspect, limits=limits, seed=seed)
    except PassError:  # a fault that comes and goes
        return None
    Keeper(output, found.suspect).write(small.case, small.shows)
    return output


def _told(found: Diagnosis, output: Path | None, written: Path | None) -> list[str]:
    lines = [f"{_MARKS[each.verdict]} {each.step}: {each.text}" for each in found.findings]
    if not found.culprit:
        return [*lines, "nothing is wrong"]
    lines.append(f"culprit: {found.culprit}")
    if found.node:
        lines.append(f"where outputs first differ: {found.node}")
    lines.append(f"what to do: {found.advice}")
    if written is not None:
        lines.append(f"written: '{written}', reduced, and '{written.with_suffix('.py')}'")
    elif output is not None:
        why = "such a fault is not reduced" if found.suspect is None else "it did not show again"
        lines.append(f"'{output}' is not written: {why}")
    elif found.suspect is not None:
        lines.append("a reduced model with the fault: run again with -o FILE.onnx")
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
