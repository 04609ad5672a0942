"""From a trained network to a small and fast one: train, compress, recover, quantize, lower.

A residual network learns scikit-learn's handwritten digits. Pipelines prune its channels or single
weights, or substitute its convolutions, recover what was lost with the network before as teacher,
and put the result on integers. A table and a picture show accuracy against latency; the fastest
network within a point of the original is written as an ONNX file. Minutes on a CPU; seeded.

    python examples/compress_digits.py [--out FOLDER] [--cache digits.pt]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
import torch
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

import planish
from planish.backends.timing.bench import Subject, bench
from planish.cli.show.records import remark_lines
from planish.passes.analysis.cost import cost

import digits

# Of accuracy in points: a variant that loses more is no candidate for the file that is written.
MOST_LOST = 1.0
BATCH = 64


def recover(epochs: int) -> str:
    """Return the pass that learns again what was lost, from the labels and from the teacher."""
    return (
        f"recover{{mode=end-to-end,labels=digit,epochs={epochs},batch={BATCH},augment=[crop],"
        "learning-rate=2e-3}"
    )


def pipelines() -> dict[str, str]:
    """Return the ways to compress, by name."""
    channels = "prune{granularity=channel,scope=layer,amount=0.5}"
    half = f"{channels},{recover(30)},shrink-channels{{measure=false}}"
    depthwise = (
        f"simplify,substitute-depthwise{{terms=1,max-error=none,measure=false}},{recover(40)}"
    )
    sparse = (
        f"prune{{amount=0.9,steps=3,step=1}},{recover(10)},"
        f"prune{{amount=0.9,steps=3,step=2}},{recover(10)},prune{{amount=0.9}},{recover(30)}"
    )
    both = f"{depthwise},{channels},{recover(30)},shrink-channels{{measure=false}}"
    return {
        "float32": "exact",
        "int8": "int8",
        "half the channels": f"{half},exact",
        "half the channels, int8": f"{half},int8",
        "a tenth of the weights": f"{sparse},apply-masks,exact",
        "depthwise": f"{depthwise},exact",
        "depthwise, half the channels": f"{both},exact",
        "depthwise, half the channels, int8": f"{both},int8",
    }


@dataclass(frozen=True)
class Labelled:
    """Batches of images for the graph's input `name`, with an entry `digit` of their labels."""

    name: str
    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return -(-len(self.images) // BATCH)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for first in range(0, len(self.images), BATCH):
            part = slice(first, first + BATCH)
            yield {self.name: self.images[part], "digit": self.labels[part]}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One compressed network and what it costs; latency of one image in milliseconds."""

    label: str
    graph: gs.Graph
    macs: int
    zeros: float
    accuracy: float
    milliseconds: float
    seconds: float


def main() -> None:
    """Train, compress in each way, print the table, draw the picture and write the best."""
    options = _options()
    console = Console()
    module, data = digits.trained(cache=options.cache)
    batch = torch.export.Dim("batch")
    graph = planish.trace(module, torch.from_numpy(data.images[:2]), dynamic_shapes=({0: batch},))
    name = graph.inputs[0].name
    feeds = Labelled(name, data.images, data.labels)
    made: dict[str, tuple[gs.Graph, float]] = {}
    for label, text in track(pipelines().items(), "compressing", console=console):
        started = time.monotonic()
        labelled = "labels=" in text
        given = feeds if labelled else [{name: feed[name]} for feed in feeds]
        result = planish.Pipeline.parse(text).run(graph, given, target=_target(options.threads))
        made[label] = result.graph, time.monotonic() - started
        for line in remark_lines(result.records):
            console.print(f"{label}: {line}", highlight=False, markup=False)
    variants = _measure(made, name, data, options)
    _show(variants, console)
    options.out.mkdir(parents=True, exist_ok=True)
    first = variants[0].accuracy
    good = [v for v in variants if 100 * (first - v.accuracy) <= MOST_LOST + 1e-9]
    best = min(good, key=lambda v: v.milliseconds)
    planish.save(best.graph, options.out / "digits.onnx", portable=True)
    draw(variants, options.out / "digits.png")
    console.print(f"{options.out / 'digits.onnx'}: {best.label}; {options.out / 'digits.png'}")


def _measure(
    made: dict[str, tuple[gs.Graph, float]], name: str, data: digits.Digits, options
) -> list[Variant]:
    """Return the variants with their accuracy on unseen digits, timed in interleaved rounds."""
    compiled = {
        label: planish.lower(graph, backend="onnxruntime", threads=options.threads)
        for label, (graph, _) in made.items()
    }
    feed = {name: data.unseen[: options.batch]}
    timings = bench(
        [Subject(label, each, feed) for label, each in compiled.items()], rounds=options.rounds
    )
    found = []
    for timing, (label, (graph, seconds)) in zip(timings, made.items(), strict=True):
        (scores,) = compiled[label]({name: data.unseen}).values()
        right = float(np.mean(scores.argmax(1) == data.answers))
        macs = cost(graph).macs
        found.append(
            Variant(
                label=label,
                graph=graph,
                macs=macs,
                zeros=_zeros(graph),
                accuracy=right,
                milliseconds=timing.median_ms,
                seconds=seconds,
            )
        )
    return found


def _zeros(graph: gs.Graph) -> float:
    """Return the part of the weights of linear layers that are zero."""
    weights = [
        node.inputs[1].values
        for node in planish.load(planish.to_model(graph, portable=True)).nodes
        if node.op in ("Conv", "Gemm") and isinstance(node.inputs[1], gs.Constant)
    ]
    total = sum(w.size for w in weights)
    return sum(int((w == 0).sum()) for w in weights) / total if total else 0.0


def _show(variants: list[Variant], console: Console) -> None:
    table = Table("", box=box.SIMPLE)
    for column in ("MACs", "zeros", "unseen digits right", "latency", "times as fast", "made in"):
        table.add_column(column, justify="right")
    for each in variants:
        table.add_row(
            each.label,
            f"{each.macs / 1e6:.2f} M",
            f"{each.zeros:.0%}",
            f"{each.accuracy:.2%}",
            f"{each.milliseconds:.3f} ms",
            f"{variants[0].milliseconds / each.milliseconds:.2f}",
            f"{each.seconds:.0f} s",
        )
    console.print(table)


def frontier(variants: list[Variant]) -> list[Variant]:
    """Return those that no other beats in both accuracy and latency, the fastest first."""
    found: list[Variant] = []
    for each in sorted(variants, key=lambda v: (v.milliseconds, -v.accuracy)):
        if not found or each.accuracy > found[-1].accuracy:
            found.append(each)
    return found


def draw(variants: list[Variant], path: Path) -> None:
    """Draw accuracy against latency, with the frontier, as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    best = frontier(variants)
    axes.step(
        [v.milliseconds for v in best],
        [100 * v.accuracy for v in best],
        where="post",
        color="tab:green",
        label="frontier",
    )
    axes.scatter([v.milliseconds for v in variants], [100 * v.accuracy for v in variants], zorder=2)
    for place, each in enumerate(sorted(variants, key=lambda v: v.milliseconds)):
        axes.annotate(
            each.label,
            (each.milliseconds, 100 * each.accuracy),
            xytext=(6, 6 if place % 2 else -12),  # neighbours above and below
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_xlabel("latency on ONNX Runtime, ms")
    axes.set_ylabel("unseen digits right, %")
    axes.set_xlim(left=0, right=1.25 * max(v.milliseconds for v in variants))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def _target(threads: int) -> str:
    return f"cpu{{threads={threads}}}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("compressed"), help="folder to write to")
    parser.add_argument("--cache", type=Path, help="file that keeps the trained weights")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1, help="images at once, for the latency")
    parser.add_argument("--rounds", type=int, default=300, help="timed rounds, interleaved")
    return parser.parse_args()


if __name__ == "__main__":
    main()
