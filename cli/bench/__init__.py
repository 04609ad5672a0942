"""`planish bench`: models timed on backends, whole, layer by layer, or under MLPerf's LoadGen."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ...backends.contract.registry import USUAL, written_by
from ...backends.timing.loadgen import Scenario
from ...backends.timing.other_load import OtherLoad
from ...tools.report.figures import Measuring
from ..completion import complete_backend
from ..feeds import NO_FEEDS, FeedOptions, takes_feeds
from ..given import given_model
from ..options import (
    InputShapeOption,
    JsonOption,
    MutableOption,
    SeedOption,
    ThreadsOption,
    refuse_unread,
)
from ..reporting import ReportOption, require_report
from ..show.console import is_verbose, print_plain, teller, warn
from .bench_report import write_bench_report
from .conditions import busy_warning, drawn_lines, machine_line, work_warning
from .latency import show_timings, time_models
from .layers import show_layers, time_layers
from .scenario import LoadOptions, run_scenario, show_loads
from .subjects import drawn_first, lowered, subjects_of

_ROUNDS, _WARMUP = 50, 5


@takes_feeds
def bench(
    models: Annotated[list[Path], typer.Argument(help="ONNX files.", show_default=False)],
    backend: Annotated[
        list[str] | None,
        typer.Option(help="Repeat for several.", autocompletion=complete_backend),
    ] = None,
    target: Annotated[str, typer.Option(help="cpu, cuda, cpu{threads=2}, ...")] = "cpu",
    threads: ThreadsOption = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Batch sizes; the models' own by default.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Counted rounds; default 50.")] = None,
    warmup: Annotated[
        int | None, typer.Option(min=0, help="Rounds before those; default 5.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="The files are what `planish compile` wrote.")
    ] = False,
    per_layer: Annotated[
        bool,
        typer.Option("--per-layer", help="Show every layer's time, and its part of the peak."),
    ] = False,
    input_shape: InputShapeOption = None,
    mutable_initializers: MutableOption = False,
    scenario: Annotated[
        Scenario | None, typer.Option(help="Let MLPerf's LoadGen ask for samples and take times.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.001, help="LoadGen: the shortest run; default 10.")
    ] = None,
    min_queries: Annotated[
        int | None, typer.Option(min=1, help="LoadGen: the fewest samples; default 100.")
    ] = None,
    log_dir: Annotated[
        Path | None, typer.Option(help="LoadGen: a folder for its logs, one inside for each run.")
    ] = None,
    given: FeedOptions = NO_FEEDS,
    report: ReportOption = None,
    as_json: JsonOption = False,
    seed: SeedOption = 0,
) -> None:
    """Time models on backends, interleaved, so that the ratios hold on a busy machine.

    With --scenario, MLPerf's LoadGen asks for samples instead, one model after the other.
    """
    require_report(report, len(models), most=2)
    options = LoadOptions(seconds=seconds, min_queries=min_queries, log_dir=log_dir, given=given)
    if compiled or any(written_by(path) is not None for path in models):
        refuse_unread("a report is of ONNX files, and what is compiled has no nodes", report=report)
    if compiled or all(written_by(path) is not None for path in models):
        refuse_unread(
            "what is compiled has its sizes",
            input_shape=input_shape,
            mutable_initializers=mutable_initializers,
        )
    read = partial(
        given_model,
        input_shape=input_shape,
        mutable=mutable_initializers,
        feeds=given.feeds,
        tell=teller(as_json=as_json),
    )
    models_of = partial(
        lowered,
        backends=backend,
        target=target,
        threads=threads,
        compiled=compiled,
        read=read,
        draw=partial(drawn_first, batches=batch, shape=given.shape, seed=seed),
    )
    setting: dict[str, Any] = {"threads": threads, "target": target}
    if scenario is not None:
        refuse_unread(
            "--scenario has LoadGen ask for whole runs, and count them",
            per_layer=per_layer,
            report=report,
            rounds=rounds,
            warmup=warmup,
        )
        every = (model for path in models for model in models_of(path))
        loads = run_scenario(scenario, every, options, batches=batch, shape=given.shape, seed=seed)
        return show_loads(loads, setting, as_json)
    options.need_none()
    subjects = [
        subject
        for path in models
        for subject in subjects_of(list(models_of(path)), batch, given.shape, seed)
    ]
    setting["inputs"] = [
        {name: list(array.shape) for name, array in subject.feed.items()} for subject in subjects
    ]
    load, warm = OtherLoad(), _WARMUP if warmup is None else warmup
    if per_layer:
        show_layers(time_layers(subjects, rounds or _ROUNDS, warm), setting, as_json)
    else:
        show_timings(time_models(subjects, rounds or _ROUNDS, warm, seed), setting, as_json)
    if not as_json:
        for line in drawn_lines(subjects):
            print_plain(line)
        if is_verbose():
            print_plain(machine_line())
    if report is not None:
        timed = Measuring(
            backends=tuple(backend or [USUAL]), target=target, threads=threads, rounds=rounds or 5
        )
        write_bench_report(models, read, report, timed)
    for doubt in filter(None, (work_warning(subjects), busy_warning(load))):
        warn(doubt)
    return None
