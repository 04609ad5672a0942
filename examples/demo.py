"""The whole path once: a PyTorch network through verified passes to ONNX Runtime.

    python examples/demo.py [OUTPUT]

Traces the ImageNet-trained EfficientNet-Lite0, runs the `exact` pipeline with every pass verified
on a photograph, lowers to ONNX Runtime, classifies real photographs before and after, and writes
`out.onnx`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

import planish
from planish.backends.timing.bench import Subject, bench
from planish.cli.show.plain import listing_table
from planish.cli.show.progress import progress_bar
from planish.cli.show.records import records_table, verification_line
from planish.cli.show.timings import timings_table
from planish.ir.core.scaled import scaled

import efficientnet_lite
import photographs

THREADS = 2
ROUNDS = 60


def main() -> None:
    """Run the demonstration and print what it found."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "out.onnx")
    console = Console()
    inputs = {name: photographs.prepare(p) for name, p in photographs.load().items()}
    with progress_bar(console, "loading EfficientNet-Lite0") as update:
        network = efficientnet_lite.load()
        with torch.no_grad():
            wanted = {
                name: top1(network(torch.from_numpy(x)).numpy()) for name, x in inputs.items()
            }
        update(0.1, "tracing")
        traced = planish.trace(network, torch.zeros(efficientnet_lite.INPUT_SHAPE))
        feed_name = traced.inputs[0].name
        result = planish.Pipeline.parse("exact").run(
            traced,
            feeds=[{feed_name: inputs["coffee"]}],
            verify="each",
            progress=lambda step: update(
                0.5 + 0.2 * (step.index + step.fraction) / step.total, f"{step.stage} {step.name}"
            ),
        )
        update(0.7, "lowering")
        before, after = (
            planish.lower(graph, "onnxruntime", threads=THREADS) for graph in (traced, result.graph)
        )
        labels = {
            name: (wanted[name], classify(before, feed_name, x), classify(after, feed_name, x))
            for name, x in inputs.items()
        }
        feed = {feed_name: inputs["coffee"]}
        timings = bench(
            [Subject("before", before, feed), Subject("after", after, feed)],
            rounds=ROUNDS,
            progress=lambda fraction: update(0.8 + 0.2 * fraction, "timing"),
        )
        planish.save(result.graph, output, portable=True)
        with tempfile.TemporaryDirectory() as folder:
            original = Path(folder) / "traced.onnx"
            planish.save(traced, original)
            sizes = (original.stat().st_size, output.stat().st_size)

    console.print(records_table(result.records))
    console.print(f"\n{verification_line(result)}\n", highlight=False)
    rows = [(name, *(label(index) for index in found)) for name, found in labels.items()]
    console.print(listing_table(rows, "photograph", "PyTorch", "before", "after"))
    console.print()
    console.print(timings_table(timings))
    written = [scaled(size, "B") for size in sizes]
    console.print(
        f"\nfile: {written[0]} as traced, {written[1]} optimized, in {output}", highlight=False
    )
    if any(len(set(found)) > 1 for found in labels.values()):
        sys.exit("a photograph changed its label")


def classify(compiled: planish.Compiled, feed_name: str, x: np.ndarray[Any, Any]) -> int:
    """Return the index of the likeliest class."""
    return top1(next(iter(compiled({feed_name: x}).values())))


def top1(logits: np.ndarray[Any, Any]) -> int:
    """Return the index of the largest of logits [1, classes]."""
    return int(logits[0].argmax())


def label(index: int) -> str:
    """Return a class as number and name."""
    return f"{index} {efficientnet_lite.LABELS.get(index, '')}".strip()


if __name__ == "__main__":
    main()
