"""A point of an earlier search, made again: the same stages and samples, the same bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...ir.core.atomic import replacing
from ...ir.core.errors import LoadError, RefusedError, VerificationError
from ...ir.core.whole_file import read_whole
from ...ir.metrics.choose import MetricOptions
from ..tasks.task import Executor
from ..trials.build import MODEL
from ..trials.clock import Runtime
from .builder import stage_task
from .document import FORMAT
from .front import Stage
from .request import Budget, Request
from .survey import Given

_WORDS = {"model": "the model is another than", "learn": "the samples are others than"}


def read_document(path: Path) -> dict[str, Any]:
    """Return what `path` tells of a search. Raises LoadError where it is no such file."""
    try:
        told = json.loads(read_whole(path))
    except (OSError, ValueError) as error:
        raise LoadError(
            f"cannot read '{path}': {error}; give the front.json of a search"
        ) from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise LoadError(
            f"'{path}' is no front of a search ({FORMAT}); give the front.json beside its output"
        )
    return told


def replay(
    told: Mapping[str, Any], point: int | None, given: Given, executor: Executor, out: Path
) -> dict[str, Any]:
    """Make a point of a search again from `given`, write it to `out`, and return what it was.

    `point`: its place among the points; None: the one that was taken. Raises RefusedError where
    there is none, VerificationError where other bytes come out; nothing is written then.
    """
    points = told["points"]
    place = told["best"] if point is None else point
    if not 0 <= place < len(points):
        raise RefusedError(f"point is {place}, and there are 0 to {len(points) - 1}")
    known = points[place]
    request = Request(
        budget=Budget(speedup=1.0),
        metric=MetricOptions(labels=tuple(told["labels"])),
        runtime=Runtime(**told["runtime"]),
        seed=told["seed"],
    )
    with tempfile.TemporaryDirectory(prefix="planish-replay-") as name:
        model = given.model
        for number, each in enumerate(known["stages"]):
            folder = Path(name) / str(number)
            folder.mkdir()
            stage = Stage(each["pipeline"], each["samples"])
            task = stage_task(model, stage, given, request)
            ((_, outcome),) = executor.run([task], [folder])
            model = outcome.require().files[MODEL]
        digest = digest_of(model)
        if digest != known["sha256"]:
            raise VerificationError(
                f"point {place} comes out otherwise than it was: {_why(told, given)}; nothing was "
                "written"
            )
        with replacing(out) as file, model.open("rb") as made:
            shutil.copyfileobj(made, file)
    return {**known, "point": place}


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests_of(given: Given) -> dict[str, str]:
    """Return the digests of what a search starts from."""
    return {"model": digest_of(given.model), "learn": digest_of(given.learn)}


def _why(told: Mapping[str, Any], given: Given) -> str:
    """Say what differs, as far as that is seen."""
    for what, digest in digests_of(given).items():
        if told["digests"].get(what) != digest:
            return f"{_WORDS[what]} the search had"
    return "versions, processor or the number of threads (OMP_NUM_THREADS) may be others"
