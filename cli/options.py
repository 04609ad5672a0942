"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..ir.core.errors import PlanishError
from .completion import complete_pipeline

ModelFile = Annotated[
    Path, typer.Argument(help="An ONNX file; - reads standard input.", show_default=False)
]
ModelFiles = Annotated[
    list[Path],
    typer.Argument(
        help="An ONNX file, or a folder of Optimum's with its config.json, and, without -o, where "
        "to write; several go to -o FOLDER. "
        "- is standard input, and output.",
        show_default=False,
    ),
]
InputModels = Annotated[
    list[Path],
    typer.Argument(help="ONNX files; - reads standard input.", show_default=False),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON instead of text; see the reference.")
]
PipelineOption = Annotated[
    str,
    typer.Option(
        "-p",
        "--pipeline",
        help="Passes and presets; see `planish passes`.",
        autocompletion=complete_pipeline,
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Where to write; default: nothing is written."),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]
InputShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        help="Give an input other sizes, `input=1,3,320,320`, or bind one, `batch=1`; repeat.",
    ),
]
MutableOption = Annotated[
    bool,
    typer.Option(
        "--mutable-initializers", help="Keep weights that are also graph inputs as inputs."
    ),
]
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Fail where a pass fails, which is rolled back else, or an edit is not verified.",
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Threads for one operator; default: the backend's.")
]
TuneTrialsOption = Annotated[
    int | None,
    typer.Option(min=0, help="Kernels to measure for each operator; 0: only what is cached."),
]
TuneCacheOption = Annotated[
    Path | None, typer.Option(help="Where measurements are kept; default: PLANISH_CACHE.")
]
TuneRemoteOption = Annotated[
    str | None, typer.Option(help="Measure on a device of an RPC tracker, `host:port/key`.")
]
WinogradOption = Annotated[
    bool | None,
    typer.Option(
        "--winograd/--no-winograd",
        help="TVM: convolutions of 3 and 5 taps as Winograd's, where faster (the default).",
    ),
]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option("--labels", help="An entry of the feeds with what is right; repeat for several."),
]
CheckKernelsOption = Annotated[
    bool | None,
    typer.Option(
        "--check-kernels/--no-check-kernels",
        help="TVM: compare every new kernel with what it is to compute (the default).",
    ),
]


def refuse_unread(why: str, **given: Any) -> None:
    """Raise PlanishError where one of `given`, options by name, was set: nothing would read it.

    `why`: what stands beside it, or is missing, such as "--scenario has LoadGen count".
    """
    set_ones = [name for name, value in given.items() if value is not None and value is not False]
    if set_ones:
        named = " and ".join(f"--{name.replace('_', '-')}" for name in set_ones)
        change = "changes" if len(set_ones) == 1 else "change"
        raise PlanishError(f"{named} {change} nothing here: {why}; leave {named} out")


def given_options(**asked: Any) -> dict[str, Any]:
    """Return the options that were given on the command line: a backend knows its own only."""
    return {name: value for name, value in asked.items() if value is not None}


def tuning_options(
    trials: int | None,
    cache: Path | None,
    remote: str | None,
    seed: int,
    progress: Callable[[float, str], None],
) -> dict[str, Any]:
    """Return what a backend is told about tuning: nothing, where nothing is asked for."""
    given = given_options(tune_trials=trials, tune_cache=cache, tune_remote=remote)
    return {**given, "tune_seed": seed, "progress": progress} if given else {}
