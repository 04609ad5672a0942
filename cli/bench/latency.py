"""Whole models, timed in turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...backends.timing.bench import Subject, Timing
from ...backends.timing.bench import bench as time_subjects
from ..show.console import err, out, print_json
from ..show.progress import progress_bar
from ..show.timings import timings_table


def time_models(
    subjects: Sequence[Subject], rounds: int, warmup: int, seed: int
) -> Sequence[Timing]:
    """Time what `subjects` hold, interleaved, under a progress bar."""
    with progress_bar(err, "timing") as update:
        return time_subjects(
            subjects,
            rounds=rounds,
            warmup=warmup,
            seed=seed,
            progress=lambda fraction: update(fraction, ""),
        )


def show_timings(timings: Sequence[Timing], setting: Mapping[str, Any], as_json: bool) -> None:
    """Print the timings as a table, or as JSON together with the `setting` they were taken in."""
    if not as_json:
        out.print(timings_table(timings))
        return
    rows = [{**asdict(t), "samples_per_second": t.samples_per_second} for t in timings]
    print_json({**setting, "timings": rows})
