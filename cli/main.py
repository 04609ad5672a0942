"""The `planish` command: a thin layer over the public names.

Tables and reports go to standard output, progress and errors to standard error. Exit codes: 0 done,
1 a comparison or search found a difference, 2 refused with one clear message, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import typer.core
from rich.console import Console

from ..backends.contract.registry import all_backends, lower
from ..backends.timing.bench import bench as time_subjects
from ..backends.timing.loadgen import Scenario
from ..ir.core.errors import PlanishError
from ..ir.files.load import load
from ..ir.files.save import bytes_on_disk, save
from ..ir.run.compare import compare as compare_graphs
from ..ir.run.feeds import random_feeds
from ..passes.analysis.channels.groups import find_channel_groups
from ..passes.analysis.cost import cost
from ..passes.analysis.roofline import measure_machine, roofline
from ..passes.pipeline.pipeline import Pipeline
from ..passes.pipeline.presets import PRESETS
from ..passes.pipeline.registry import all_passes
from ..passes.trust.bisect import bisect as find_culprit
from . import explain_int8 as cli_explain
from .bench import layers_json, lowered, show_layers, subjects_of
from .loadgen import LoadOptions, run_scenario
from .options import (
    FeedsOption,
    MeanOption,
    ModelFile,
    OutOption,
    PipelineOption,
    SeedOption,
    ShapeOption,
    StdOption,
    ThreadsOption,
    TuneCacheOption,
    TuneRemoteOption,
    TuneTrialsOption,
    Verify,
    WinogradOption,
    assignment,
    feeds_of,
    given_options,
    is_main_process,
    tuning_options,
)
from .show import tables


class _InterruptedError(Exception):
    """Ctrl-C, in a form that Typer does not turn into an exit of its own."""


class _Commands(typer.core.TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C ends as `main` decides."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _InterruptedError from error


app = typer.Typer(
    cls=_Commands,
    help="Make convolutional networks smaller and faster, with proof that they compute the same.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# A pipe or file has no width of its own, and names folded at 80 columns cannot be searched.
out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)


@app.command()
def optimize(
    model: ModelFile,
    output: OutOption,
    pipeline: PipelineOption = "exact",
    feeds: FeedsOption = None,
    target: Annotated[
        str, typer.Option(help="What passes that measure, or mind the CPU, work for.")
    ] = "cpu",
    verify: Annotated[Verify, typer.Option(help="Compare outputs.")] = Verify.end,
    why: Annotated[bool, typer.Option("--why", help="Show what was left alone, and why.")] = False,
    portable: Annotated[
        bool, typer.Option(help="Inline fused operators, for runtimes without local functions.")
    ] = True,
    dump: Annotated[
        Path | None, typer.Option(help="A folder for the graph after each pass that changed it.")
    ] = None,
    reproducer: Annotated[
        Path | None, typer.Option(help="The folder for the reproducer of a failure.")
    ] = None,
    shape: ShapeOption = None,
    mean: MeanOption = "0",
    std: StdOption = "1",
    seed: SeedOption = 0,
) -> None:
    """Run passes over a model, verify the result and write it."""
    steps = Pipeline.parse(pipeline)
    graph = load(model)
    data = feeds_of(graph, feeds, shape, mean, std, seed, steps.extra_feeds())
    shows = is_main_process()
    with tables.pass_progress(err) as progress:
        result = steps.run(
            graph,
            data,
            verify.value,
            target=target,
            seed=seed,
            progress=progress if shows else None,
            dump=dump if shows else None,
            reproducer=reproducer,
        )
    if not shows:
        return
    before = bytes_on_disk(model)  # the output may be the same file
    save(result.graph, output, portable=portable)
    out.print(tables.records_table(result.records))
    for line in tables.remark_lines(result.records):
        out.print(line, highlight=False, markup=False)
    declined = tables.declined_table(result.records) if why else None
    if declined is not None:
        out.print()
        out.print(declined)
    out.print()
    out.print(tables.verification_line(result), highlight=False, markup=False)
    sizes = [tables.scaled(size, "B") for size in (before, bytes_on_disk(output))]
    out.print(f"{model}: {sizes[0]} -> {output}: {sizes[1]}", highlight=False, markup=False)


@app.command()
def compile(
    model: ModelFile,
    output: OutOption,
    backend: Annotated[str, typer.Option(help="See `planish backends`.")] = "onnxruntime",
    target: Annotated[str, typer.Option(help="cpu, cuda, cpu{threads=2}, ...")] = "cpu",
    pipeline: PipelineOption = "exact",
    threads: ThreadsOption = None,
    tune_trials: TuneTrialsOption = None,
    tune_cache: TuneCacheOption = None,
    tune_remote: TuneRemoteOption = None,
    winograd: WinogradOption = None,
    seed: SeedOption = 0,
) -> None:
    """Optimize a model, lower it for a target and save what the backend loads."""
    steps = Pipeline.parse(pipeline)
    graph = load(model)
    with tables.pass_progress(err) as progress:
        result = steps.run(graph, target=target, seed=seed, progress=progress)
    with tables.progress_bar(err, "lowering") as update:
        options = tuning_options(tune_trials, tune_cache, tune_remote, seed, update)
        options |= given_options(winograd=winograd)
        lower(result.graph, backend, target, threads, **options).save(output)
    out.print(tables.verification_line(result), highlight=False, markup=False)
    size = tables.scaled(bytes_on_disk(output), "B")
    out.print(f"{output}: {size}", highlight=False, markup=False)


@app.command()
def bench(
    models: Annotated[list[Path], typer.Argument(help="ONNX files.", show_default=False)],
    backend: Annotated[list[str] | None, typer.Option(help="Repeat for several.")] = None,
    target: Annotated[str, typer.Option(help="cpu, cuda, cpu{threads=2}, ...")] = "cpu",
    threads: ThreadsOption = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Batch sizes; the models' own by default.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Counted rounds.")] = 50,
    warmup: Annotated[int, typer.Option(min=0, help="Rounds before those.")] = 5,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="The files are what `planish compile` wrote.")
    ] = False,
    per_layer: Annotated[
        bool,
        typer.Option("--per-layer", help="Show every layer's time, and its part of the peak."),
    ] = False,
    shape: ShapeOption = None,
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
    feeds: FeedsOption = None,
    mean: MeanOption = "0",
    std: StdOption = "1",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    seed: SeedOption = 0,
) -> None:
    """Time models on backends, interleaved, so that the ratios hold on a busy machine.

    With --scenario, MLPerf's LoadGen asks for samples instead, one model after the other.
    """
    names = backend or ["onnxruntime"]
    options = LoadOptions(seconds, min_queries, log_dir, feeds, mean, std)
    models_of = partial(lowered, backends=names, target=target, threads=threads, compiled=compiled)
    if scenario is not None and per_layer:
        raise PlanishError("LoadGen sees whole runs only; leave --per-layer or --scenario out")
    if scenario is not None:
        with tables.progress_bar(err, "LoadGen") as update:
            loads = run_scenario(
                scenario,
                (model for path in models for model in models_of(path)),
                options,
                batches=batch,
                shape=shape,
                seed=seed,
                progress=lambda label: update(0, f"LoadGen: {label}"),
            )
        if as_json:
            found = [{"label": label, "batch": size, **asdict(r)} for label, size, r in loads]
            _print_json({"threads": threads, "target": target, "loadgen": found})
        else:
            out.print(tables.loadgen_table(loads))
        return
    options.need_none()
    subjects = [
        subject
        for path in models
        for subject in subjects_of(list(models_of(path)), batch, shape, seed)
    ]
    if per_layer:
        with tables.progress_bar(err, "timing layers") as update:
            shown = [(one, one.compiled.time_layers(one.feed, rounds=rounds)) for one in subjects]
        if as_json:
            rows = [layers_json(one.label, one.batch, times) for one, times in shown]
            _print_json({"threads": threads, "target": target, "models": rows})
        else:
            for one, times in shown:
                show_layers(out, one.label, one.batch, times)
        return
    with tables.progress_bar(err, "timing") as update:
        timings = time_subjects(
            subjects,
            rounds=rounds,
            warmup=warmup,
            seed=seed,
            progress=lambda fraction: update(fraction, ""),
        )
    if as_json:
        rows = [{**asdict(t), "samples_per_second": t.samples_per_second} for t in timings]
        _print_json({"threads": threads, "target": target, "timings": rows})
    else:
        out.print(tables.timings_table(timings))


@app.command()
def compare(
    a: ModelFile,
    b: ModelFile,
    feeds: FeedsOption = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Exit with 1 where max rel is larger.")
    ] = None,
    shape: ShapeOption = None,
    mean: MeanOption = "0",
    std: StdOption = "1",
    seed: SeedOption = 0,
) -> None:
    """Show how far the outputs of two models are apart."""
    graph_a, graph_b = load(a), load(b)
    data = feeds_of(graph_a, feeds, shape, mean, std, seed)
    found = compare_graphs(
        graph_a, graph_b, random_feeds(graph_a, seed=seed) if data is None else data
    )
    out.print(tables.comparison_table(found))
    if tolerance is not None and not found.max_rel <= tolerance:
        raise typer.Exit(1)


@app.command()
def inspect(
    model: ModelFile,
    size: Annotated[
        list[str] | None, typer.Option(help="A dynamic dimension, `N=8`; others count as 1.")
    ] = None,
    most: Annotated[int | None, typer.Option(min=0, help="Show only the first nodes.")] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="Show only the slowest nodes, the slowest first.")
    ] = None,
    peak_gflops: Annotated[
        float | None, typer.Option(help="What the machine computes, in GFLOP/s; default: measured.")
    ] = None,
    bandwidth_gbs: Annotated[
        float | None, typer.Option(help="What its memory moves, in GB/s; default: measured.")
    ] = None,
    threads: ThreadsOption = None,
    groups: Annotated[
        bool, typer.Option("--groups", help="Show instead which channels can only go together.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show the nodes of a model with their MACs, parameters, bytes and roofline times.

    The roofline time is the least that the machine needs: it is bound by computing or by memory.
    """
    graph = load(model)
    if groups and as_json:
        raise PlanishError("--groups is shown as text only; leave --json out")
    if groups:
        for group in find_channel_groups(graph):
            out.print(f"{group}\n", highlight=False, markup=False, soft_wrap=True)
        return
    found = cost(graph, dict(assignment(item, int) for item in size or ()))
    machine = measure_machine(
        threads,
        peak=None if peak_gflops is None else 1e9 * peak_gflops,
        bandwidth=None if bandwidth_gbs is None else 1e9 * bandwidth_gbs,
    )
    times = roofline(found, machine)
    if as_json:
        roofs = [
            {"seconds": node.seconds, "share": node.share, "bound": node.bound}
            for node in times.nodes
        ]
        times_of = {"machine": asdict(machine), "seconds": times.seconds, "nodes": roofs}
        _print_json({**asdict(found), "roofline": times_of})
        return
    for title, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for tensor in tensors:
            out.print(f"{title} {tensor.name}: {tensor.shape}", highlight=False, markup=False)
    given = [peak_gflops is not None, bandwidth_gbs is not None]
    out.print(tables.machine_line(machine, *given), highlight=False)
    out.print(tables.cost_table(found, times, most, top))
    if found.unknown:
        out.print(f"{found.unknown} nodes have unknown shapes and are not in the totals")


@app.command("explain-int8")
def explain_int8(
    model: ModelFile,
    original: Annotated[
        Path | None, typer.Option("--float", help="The model before quantization.")
    ] = None,
    feeds: FeedsOption = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the model with the exclusions that pay.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where --apply writes.")
    ] = None,
    threads: ThreadsOption = None,
    top: Annotated[
        int, typer.Option(min=0, help="Layers to show, the worst first; 0: all, in order.")
    ] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    shape: ShapeOption = None,
    mean: MeanOption = "0",
    std: StdOption = "1",
    seed: SeedOption = 0,
) -> None:
    """Show why an integer model is slow or wrong, layer by layer, and which to leave in float.

    An exclusion pays where it raises the SQNR by 0.5 dB or more, or makes the model faster and not
    worse; those with most dB for their time come first, as long as integers stay faster than float
    or 6 dB are gained.
    """
    cli_explain.check_output(apply, output)
    with tables.progress_bar(err, "explaining") as update:
        report, sizes = cli_explain.explain_model(
            model, original, (feeds, shape, mean, std), output, threads, seed, update
        )
    if as_json:
        _print_json(cli_explain.as_json(report, sizes))
    else:
        cli_explain.show(out, report, sizes, top, apply)


@app.command()
def passes() -> None:
    """List the passes and presets."""
    rows = [
        (name, "exact" if item.exact else "approximate", item.summary())
        for name, item in all_passes().items()
    ]
    out.print(tables.listing_table(rows, "pass", "kind", "what it does"))
    out.print()
    presets = [(name, text.replace(",", ", ")) for name, text in PRESETS.items()]
    out.print(tables.listing_table(presets, "preset", "passes"))


@app.command()
def backends() -> None:
    """List the backends and the targets this machine has for them."""
    rows = [
        (name, ", ".join(item().targets()) or "none", item.summary)
        for name, item in all_backends().items()
    ]
    out.print(tables.listing_table(rows, "backend", "targets here", "what it is"))


@app.command()
def bisect(
    model: ModelFile,
    pipeline: PipelineOption = "exact",
    feeds: FeedsOption = None,
    mean: MeanOption = "0",
    std: StdOption = "1",
    seed: SeedOption = 0,
) -> None:
    """Find the first edit of a pipeline that breaks the result; exit with 1 where there is one."""
    steps = Pipeline.parse(pipeline)
    graph = load(model)
    data = feeds_of(graph, feeds, None, mean, std, seed, steps.extra_feeds())
    with err.status("searching") as status:
        found = find_culprit(
            steps,
            graph,
            data,
            seed=seed,
            progress=lambda low, high: status.update(f"searching edits {low} to {high}"),
        )
    if found is None:
        out.print("every edit keeps the result")
        return
    out.print(
        f"edit {found.edit}: edit {found.edit_in_pass} of pass {found.pass_index + 1}, "
        f"'{found.pass_name}'\n{found.message}",
        highlight=False,
        markup=False,
    )
    raise typer.Exit(1)


def main() -> None:
    """Run the command line; every refusal is one message and exit code 2."""
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        app(standalone_mode=True)
    except PlanishError as error:
        _refuse(str(error))
    except OSError as error:  # what no module could name better, such as a folder for --dump
        where = "" if error.filename is None else f" '{error.filename}'"
        _refuse(f"cannot use{where}: {error.strerror or error}; check the path and its permissions")
    except MemoryError as error:
        _refuse(f"out of memory: {error or 'no details'}; use a smaller batch or shape")
    except (_InterruptedError, KeyboardInterrupt):
        err.print("interrupted; no half-written file is left")
        sys.exit(130)


def _refuse(message: str) -> NoReturn:
    err.print(f"error: {message}", style="red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(2)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _show_warning(message: Warning | str, *_: Any) -> None:
    err.print(f"warning: {message}", style="yellow", highlight=False, markup=False)


if __name__ == "__main__":
    main()
