"""`planish report`: a model, or what was done to one, as a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..ir.core.errors import LoadError
from ..ir.core.whole_file import read_whole
from ..tools.report.build import (
    GivenModel,
    model_report,
    run_report,
    search_report,
)
from ..tools.report.document import SCHEMA, ReportDocument
from ..tools.report.figures import Measuring
from ..tools.report.front import SEARCHED
from ..tools.report.read import read_report
from .completion import complete_backend
from .feeds import NO_FEEDS, FeedOptions, takes_feeds
from .files import model_file, size_on_disk
from .given import given_model
from .options import (
    InputShapeOption,
    JsonOption,
    LabelsOption,
    MutableOption,
    SeedOption,
    ThreadsOption,
)
from .reporting import how_made, measuring, require_report, write_told
from .show.console import print_json, teller

_ROUNDS = 5


@takes_feeds
def report(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RESULT|MODEL",
            help="An ONNX file, or what `optimize --json`, `search` (its front.json) or "
            "`--report FILE.json` has written.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write.")] = Path(
        "report.html"
    ),
    backend: Annotated[
        list[str] | None,
        typer.Option(
            help="Time layers on it; repeat for several. Default: onnxruntime.",
            autocompletion=complete_backend,
        ),
    ] = None,
    target: Annotated[str, typer.Option(help="cpu, cuda, cpu{threads=2}, ...")] = "cpu",
    threads: ThreadsOption = None,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each model.")] = _ROUNDS,
    times: Annotated[
        bool, typer.Option(help="Time layers, and what the machine does at most.")
    ] = True,
    given: FeedOptions = NO_FEEDS,
    labels: LabelsOption = None,
    input_shape: InputShapeOption = None,
    mutable_initializers: MutableOption = False,
    as_json: JsonOption = False,
    seed: SeedOption = 0,
) -> None:
    """Write a page that shows a model, or what was done to it: graphs, layers, passes, figures.

    The page is one file that reads nothing from anywhere. With --json its document is printed.
    """
    require_report(None if as_json else output, 1)
    options = Measuring(
        backends=tuple(backend or ["onnxruntime"]) if times else (),
        target=target,
        threads=threads,
        rounds=rounds,
        roofline=times,
    )
    told = teller(as_json=as_json)
    text = _json_in(source)
    if text is not None and text.get("schema") == SCHEMA:
        made = read_report(text, str(source))
    else:
        run = None if text is None else _result_of(text, source)
        model = source if run is None else Path(run["model"])
        graph = given_model(
            model, input_shape, mutable=mutable_initializers, feeds=given.feeds, tell=told
        )
        data = given.data(graph, seed, labels or (), told, model_file(model))
        before = GivenModel(graph=graph, file=str(model), bytes=size_on_disk(model_file(model)))
        with measuring(options) as measured:
            if run is None:
                made = model_report(before, made=how_made(), feeds=data, measuring=measured)
            else:
                made = _of_result(run, before, data, labels or (), measured)
    if as_json:
        print_json(made.as_json())
    else:
        write_told(made, output, told)


def _of_result(
    run: dict[str, Any],
    before: GivenModel,
    data: Any,
    labels: list[str] | tuple[()],
    options: Measuring,
) -> ReportDocument:
    output = Path(run["output"])
    graph = given_model(output, tell=lambda line: None)
    after = GivenModel(graph=graph, file=str(output), bytes=size_on_disk(output))
    if run.get("format") == SEARCHED:
        return search_report(
            before, after, run, made=how_made(), feeds=data, labels=labels, measuring=options
        )
    return run_report(
        before, after, run, made=how_made(), feeds=data, labels=labels, measuring=options
    )


def _json_in(path: Path) -> dict[str, Any] | None:
    """Return the object in a file that is JSON by its name, None of a model."""
    if path.suffix != ".json":
        return None
    try:
        found = json.loads(read_whole(path))
    except json.JSONDecodeError as error:
        raise LoadError(f"'{path}' is no JSON: {error}; give what --json has printed") from error
    except (OSError, ValueError) as error:
        raise LoadError(f"cannot read '{path}': {error}; check the path") from error
    if not isinstance(found, dict):
        raise LoadError(f"'{path}' holds no result; give what `planish optimize --json` prints")
    return found


def _result_of(found: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the run of one model that `optimize --json` tells of, or what a search wrote."""
    if found.get("format") == SEARCHED:
        return found
    models = found.get("models")
    if not isinstance(models, list) or not models or "passes" not in models[0]:
        raise LoadError(
            f"'{path}' is no result of a run; give what `planish optimize --json` or `search` has "
            "written, or a report's document"
        )
    if len(models) > 1:
        raise LoadError(f"'{path}' is of {len(models)} models; give the result of one")
    run: dict[str, Any] = models[0]
    if run.get("output") is None:
        raise LoadError(f"'{path}' is of a run that wrote no model; run it again with -o")
    return run
