"""Latency of the example networks on ONNX Runtime: as exported, after onnxsim, after planish.

    python -m benchmarks.exporters [NETWORK ...]

Each network is exported by PyTorch's own exporter in three ways: `dynamo` with and without its
optimizer, and the TorchScript exporter. The three files of a row are timed interleaved, so the
ratios hold on a busy machine: below 1, planish's file is faster.
"""

from __future__ import annotations

import logging
import math
import sys
import tempfile
import warnings
from pathlib import Path

import onnx
import torch
from rich.console import Console

import planish
from planish.backends.timing.bench import Subject, bench
from planish.cli.show.plain import listing_table

from examples import models

THREADS, ROUNDS, SECONDS = 2, 60, 5.0


def export(name: str, folder: Path) -> dict[str, Path]:
    """Return the files of one network by exporter."""
    module = models.build(name)
    inputs = models.example_inputs(name)
    paths = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, inputs)
        for label, optimize in (("dynamo", False), ("dynamo, optimized", True)):
            paths[label] = folder / f"{name}-{optimize}.onnx"
            torch.onnx.export(program, (), dynamo=True, optimize=optimize, verbose=False).save(
                paths[label]
            )
        paths["torchscript"] = folder / f"{name}-script.onnx"
        torch.onnx.export(module, inputs, paths["torchscript"], dynamo=False)
    return paths


def simplify(path: Path) -> onnx.ModelProto | None:
    """Return what onnxsim makes of a file, or None where it is not installed."""
    try:
        import onnxsim
    except ImportError:
        return None
    return onnxsim.simplify(onnx.load(path))[0]


def runs(graph: object, feed: dict[str, object]) -> bool:
    """Say whether a file runs as exported; the dynamo exporter's Conv3d has an invalid bias."""
    try:
        planish.lower(graph, threads=THREADS)(feed)
    except planish.PlanishError:
        return False
    return True


def main() -> None:
    """Measure and print."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    console = Console()
    rows = []
    ratios: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or models.NAMES:
            for exporter, path in export(name, Path(folder)).items():
                original = planish.load(path)
                optimized = planish.Pipeline.parse("exact").run(original, verify="off").graph
                simplified = simplify(path)
                graphs = [optimized, original]
                if simplified is not None:
                    graphs.append(planish.load(simplified))
                feed = planish.random_feeds(original)[0]
                if not runs(original, feed):
                    rows.append((name, exporter, "does not run", "", "", "", ""))
                    continue
                timings = bench(
                    [
                        Subject(str(i), planish.lower(graph, threads=THREADS), feed)
                        for i, graph in enumerate(graphs)
                    ],
                    rounds=ROUNDS,
                    seconds=SECONDS,
                )
                for i, timing in enumerate(timings[1:], 1):
                    ratios[i].append(1 / timing.ratio)
                medians = [f"{t.median_ms:.2f} ms" for t in timings]
                shown = [f"{1 / t.ratio:.2f}" for t in timings[1:]]
                if simplified is None:
                    medians.append("")
                    shown.append("")
                rows.append((name, exporter, medians[1], medians[2], medians[0], *shown))
                console.print(" ".join(rows[-1]), highlight=False, style="dim")
    means = [
        f"{math.exp(sum(map(math.log, found)) / len(found)):.2f}" if found else ""
        for found in ratios.values()
    ]
    rows.append(("geometric mean", "", "", "", "", *means))
    headers = ("network", "exporter", ">exported", ">onnxsim", ">planish", ">ratio", ">to onnxsim")
    console.print(listing_table(rows, *headers))


if __name__ == "__main__":
    main()
