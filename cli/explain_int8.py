"""`planish explain-int8`: why an integer model is slower or worse, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..backends.onnxruntime.explain.explain import apply_exclusions, has_quantized_layers
from ..backends.onnxruntime.explain.explain import explain_int8 as explain
from ..backends.onnxruntime.explain.report import Int8Report
from ..ir.core.atomic import require_writable
from ..ir.core.errors import GraphError, LoadError, SaveError
from ..ir.core.scaled import scaled
from ..ir.files.save import save
from ..ir.metrics.choose import AUTOMATIC, MetricOptions
from ..ir.run.extra_feeds import FeedsWithout
from ..tools.report.build import GivenModel, int8_report
from ..tools.report.figures import Measuring
from .feeds import NO_FEEDS, FeedOptions, takes_feeds
from .files import load, model_file, size_on_disk
from .given import given_model
from .judged import takes_metric
from .options import (
    JsonOption,
    ModelFile,
    SeedOption,
    ThreadsOption,
)
from .reporting import ReportOption, how_made, measuring, require_report, write_told
from .show.console import err, is_verbose, out, print_json, print_plain, tell, teller
from .show.explain import layers_table, notes, quality_table, shown_layers, suggestions_table
from .show.progress import progress_bar

_SHOWN = 20


@takes_feeds
@takes_metric
def explain_int8(
    model: ModelFile,
    out_file: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="Where --apply writes, as -o.", show_default=False),
    ] = None,
    original: Annotated[
        Path | None, typer.Option("--float", help="The model before quantization.")
    ] = None,
    given: FeedOptions = NO_FEEDS,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the model with the exclusions that pay.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where --apply writes.")
    ] = None,
    threads: ThreadsOption = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Layers to show, the worst first; default 20, in JSON all. 0: all, in order.",
        ),
    ] = None,
    judged: MetricOptions = AUTOMATIC,
    report: ReportOption = None,
    as_json: JsonOption = False,
    seed: SeedOption = 0,
) -> None:
    """Show why an integer model is slow or wrong, layer by layer, and which to leave in float.

    An exclusion pays where it raises the SQNR by 0.5 dB or more, or makes the model faster and not
    worse; those with most dB for their time come first, as long as integers stay faster than float
    or 6 dB are gained.
    """
    require_report(report, 1)
    output = _output(out_file, output, apply=apply)
    with progress_bar(err, "explaining") as update:
        found, sizes = _explain_model(
            model,
            original,
            given,
            output,
            say=teller(as_json=as_json),
            progress=update,
            threads=threads,
            seed=seed,
            metric=judged.metric,
            class_axis=judged.class_axis,
            labels=judged.labels,
        )
    if as_json:
        print_json(_as_json(found, sizes, top or 0))
    else:
        _show(found, sizes, (0 if is_verbose() else _SHOWN) if top is None else top, apply)
    if report is not None:
        of = [None if path is None else _given(path, given) for path in (model, original)]
        assert of[0] is not None
        with measuring(Measuring(threads=threads)) as options:
            made = int8_report(of[0], of[1], found, made=how_made(), measuring=options)
        write_told(made, report, tell)


def _given(path: Path, given: FeedOptions) -> GivenModel:
    """Return a model as a report takes it."""
    graph = given_model(path, feeds=given.feeds, tell=lambda line: None)
    return GivenModel(graph=graph, file=str(path), bytes=size_on_disk(path))


def _explain_model(
    model: Path,
    original: Path | None,
    given: FeedOptions,
    output: Path | None,
    *,
    say: Callable[[str], None],
    seed: int,
    labels: Sequence[str],
    **options: Any,
) -> tuple[Int8Report, list[tuple[str, str]]]:
    """Explain `model`, write what the suggestions make of it to `output` where that is given.

    Returns the report, and the names and sizes of the files it is about. `options`: those of
    `planish.explain_int8`.
    """
    graph = given_model(model, feeds=given.feeds, tell=say)
    floats = None if original is None else given_model(original, feeds=given.feeds, tell=say)
    data = given.data(graph, seed, labels, say, model_file(model))
    try:
        report = explain(graph, floats, data, seed=seed, labels=labels, **options)
    except GraphError as error:
        raise GraphError(f"{model}: {error}") from error
    sizes = [
        ("float" if original is None else str(original), _size(original)),
        (str(model), _size(model)),
    ]
    if output is not None:
        chosen = [name for s in report.suggestions if s.applied for name in s.nodes]
        inputs = FeedsWithout(data, labels) if labels and data is not None else data
        save(apply_exclusions(graph, chosen, floats, inputs), output, portable=True)
        sizes.append((str(output), _size(output)))
    return report, sizes


def _output(argument: Path | None, option: Path | None, *, apply: bool) -> Path | None:
    """Return where to write, of `IN OUT` or -o; refuse --apply without it, and it without --apply.

    Raises SaveError where that would replace a model that `IN FLOAT` means to have read.
    """
    if argument is not None and option is not None:
        raise SaveError(f"'{argument}' and -o '{option}' both say where to write; leave one out")
    output = argument or option
    if apply and output is None:
        raise SaveError("--apply needs a file to write; add -o OUT")
    if output is not None and not apply:
        hint = "; the model before quantization is --float" if argument is not None else ""
        raise SaveError(f"-o writes what --apply makes; add --apply or leave it out{hint}")
    if output is None:
        return None
    if argument is not None and not _may_replace(argument):
        raise SaveError(
            f"'{argument}' is there and is no quantized model, and --apply would replace it; the "
            f"model before quantization is --float '{argument}', and the file to write -o OUT"
        )
    require_writable(output)
    return output


def _may_replace(path: Path) -> bool:
    """Say whether nothing is lost at `path` but what --apply may have written there before."""
    if not path.is_file() or not path.stat().st_size:
        return True
    try:
        return has_quantized_layers(load(path))
    except LoadError:
        return False


def _show(report: Int8Report, sizes: list[tuple[str, str]], top: int, applied: bool) -> None:
    """Print the report."""
    out.print(layers_table(report, top))
    out.print()
    for remark in report.remarks:
        print_plain(f"- {remark}")
    for note in notes(report):
        print_plain(f"- {note}")
    if report.suggestions:
        out.print()
        out.print(suggestions_table(report))
    else:
        out.print("- no exclusion that was tried pays", highlight=False)
    out.print()
    qualities = [report.original, report.before]
    if applied:
        qualities.append(report.after or report.before)
    rows = [(n, q, size) for (n, size), q in zip(sizes, qualities, strict=True)]
    out.print(quality_table(rows))
    out.print(report.runtime, highlight=False)


def _as_json(report: Int8Report, sizes: list[tuple[str, str]], top: int) -> Any:
    """Return the report as JSON has it, with the `top` layers, 0 for all."""
    shown = replace(report, layers=shown_layers(report, top))
    return {**asdict(shown), "files": [name for name, _ in sizes]}


def _size(path: Path | None) -> str:
    size = size_on_disk(path)
    return "" if size is None else scaled(size, "B")
