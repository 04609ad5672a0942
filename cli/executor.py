"""Where tasks run: options of the commands that have many, and what does them."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from ..ir.core.extras import installed_version
from ..tools.tasks.processes import LocalProcesses
from ..tools.tasks.task import Executor
from .options import refuse_unread

RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="Run on the Ray cluster at this address, `auto`, or on one of this machine, `local`.",
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option("--jobs", min=1, help="Processes at once that measure no time; default: one."),
]
_PACKAGES = ("numpy", "onnx", "onnxruntime", "scipy", "torch")


def executor_of(ray: str | None, jobs: int | None) -> Executor:
    """Return what runs tasks. Raises RefusedError where a cluster is not there, or unfit."""
    if ray is None:
        return LocalProcesses(jobs or 1)
    refuse_unread("--ray runs as many as the cluster has processors for", jobs=jobs)
    from ..tools.tasks.ray_nodes import RayNodes

    return RayNodes(ray)


def versions() -> dict[str, str]:
    """Return what outcomes depend on beside what tasks are given."""
    known = {name: installed_version(name) for name in _PACKAGES}
    return {"planish": __version__} | {n: v for n, v in known.items() if v is not None}
