"""Under which conditions `planish bench` timed: what was run on, and what else the machine did."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ...backends.timing.bench import Subject
from ...backends.timing.other_load import NOTICED, OtherLoad
from ...ir.core.cpu import cpu_name
from ...ir.core.extras import installed_version
from ...ir.core.shown import one_line


def drawn_lines(subjects: Sequence[Subject]) -> list[str]:
    """Say what inputs were drawn: in one line, where all models have the same."""
    shown: dict[str, list[str]] = {}
    for subject in subjects:
        shown.setdefault(_inputs(subject), []).append(f"{subject.label}, batch {subject.batch}")
    if len(shown) == 1:
        return [f"random inputs: {text}" for text in shown]
    return [f"{', '.join(labels)}: random inputs: {text}" for text, labels in shown.items()]


def work_warning(subjects: Sequence[Subject]) -> str:
    """Say that models have been timed on inputs of different shapes; "" where they were not."""
    shapes: dict[str, set[tuple[tuple[int, ...], ...]]] = {}
    for subject in subjects:
        drawn = tuple(sorted(array.shape for array in subject.feed.values()))
        shapes.setdefault(subject.label, set()).add(drawn)
    first, *others = shapes.values()
    if all(other == first for other in others):
        return ""
    return (
        "the models were given inputs of different shapes, so the ratio compares different work; "
        "give all of them one with --input-shape, --shape or --batch"
    )


def machine_line() -> str:
    """Say on what was timed: the processor, and the versions of the runtimes that are installed."""
    packages = ("onnxruntime", "apache-tvm", "numpy")
    versions = [f"{name} {found}" for name in packages if (found := installed_version(name))]
    return f"on {cpu_name()}, {os.cpu_count()} cores; {', '.join(versions)}"


def busy_warning(load: OtherLoad) -> str:
    """Say how busy other programs have kept the machine since `load` watches; "" for little."""
    cores, all_cores = load.cores(), os.cpu_count() or 1
    if cores is None or cores < NOTICED:
        return ""
    return (
        f"other programs kept {cores:.1f} of {all_cores} cores busy meanwhile: the ratios hold, "
        "times are longer than on an idle machine"
    )


def _inputs(subject: Subject) -> str:
    texts = [f"{one_line(n)} {array.dtype}{list(array.shape)}" for n, array in subject.feed.items()]
    return ", ".join(texts) or "none, it takes no inputs"
