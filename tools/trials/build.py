"""The task that runs a pipeline over a model, and writes what it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...ir.files.data_file import bytes_on_disk
from ...ir.files.load import load
from ...ir.files.save import save
from ...passes.pipeline.pipeline import Pipeline
from ..tasks.task import Task, TaskCall
from .stored_feeds import StoredFeeds

MODEL = "model.onnx"


def build(job: TaskCall) -> dict[str, Any]:
    """Run the pipeline; return how long it took and what its passes remarked."""
    pipeline = Pipeline.parse(job.options["pipeline"])
    feeds = None
    if "feeds" in job.files:
        stored = StoredFeeds(job.files["feeds"], job.options["labels"])
        most = job.options["most_feeds"]
        feeds = stored if most is None else stored.first(most)
    result = pipeline.run(
        load(job.files["model"]),
        feeds,
        "off",
        target=job.options["target"],
        seed=job.options["seed"],
        strict=True,
    )
    save(result.graph, job.out / MODEL, portable=True)
    return {
        "remarks": [[record.name, text] for record in result.records for text in record.remarks],
        "bytes": bytes_on_disk(job.out / MODEL),
    }


def build_task(
    model: Path,
    pipeline: str,
    feeds: Path | None,
    *,
    labels: tuple[str, ...] = (),
    most_feeds: int | None = None,
    target: str = "cpu",
    seed: int = 0,
    what: str = "",
) -> Task:
    """Return the task that makes `MODEL` of `model`."""
    return Task(
        function=f"{__name__}:{build.__name__}",
        options={
            "pipeline": pipeline,
            "labels": list(labels),
            "most_feeds": most_feeds,
            "target": target,
            "seed": seed,
        },
        files={"model": model} | ({"feeds": feeds} if feeds is not None else {}),
        what=what,
    )
