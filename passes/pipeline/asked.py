"""What is handed to the front door, in the one form that a run takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...ir.core.errors import PipelineError, RefusedError
from ...ir.core.kind import kind_of
from ...ir.core.share import share
from .pipeline import Pipeline


def pipeline_of(given: Any) -> Pipeline:
    """Return `given`, parsed where it is text; raises PipelineError where it is no pipeline."""
    if isinstance(given, Pipeline):
        return given
    if isinstance(given, str):
        return Pipeline.parse(given)
    raise PipelineError(
        f"the pipeline is {kind_of(given)}; give its text, such as 'exact', or a planish.Pipeline"
    )


def shapes_of(given: Any) -> tuple[str, ...]:
    """Return sizes as items `name=1,3,320,320`: of one such text, several, or a dict of sizes.

    Raises RefusedError where `given` is none of these.
    """
    if given is None:
        return ()
    if isinstance(given, str):
        return (given,)
    if isinstance(given, Mapping):
        return tuple(f"{name}={_sizes(name, sizes)}" for name, sizes in given.items())
    if isinstance(given, Iterable):
        items = tuple(given)
        if all(isinstance(item, str) for item in items):
            return items
    raise RefusedError(
        f"input_shape is {kind_of(given)} that gives no sizes; write ['x=1,3,320,320'], "
        "{'x': (1, 3, 320, 320)} or 'batch=1'"
    )


def options_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as passes take them: `max_drop` may be a percentage, as in a command.

    Raises PipelineError where it is text that is none.
    """
    most = given.get("max_drop")
    return {**given, "max_drop": share(most, "max_drop")} if isinstance(most, str) else {**given}


def _sizes(name: Any, sizes: Any) -> str:
    listed = [sizes] if isinstance(sizes, int | np.integer | str) else sizes
    if not isinstance(listed, Iterable):
        raise RefusedError(
            f"input_shape gives '{name}' {kind_of(sizes)}; give its sizes, (1, 3, 320, 320)"
        )
    return ",".join(map(str, listed))
