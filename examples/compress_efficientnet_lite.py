"""EfficientNet-Lite0 with a quarter of its multiplications gone, and its answers kept.

Channels are chosen, masked, made up for block by block and cut, all on random crops of six
photographs without a single label; other crops judge:

    python examples/compress_efficientnet_lite.py [--amount 0.25] [--crops 256] [--judge 300]
"""

from __future__ import annotations

import argparse
import time
from functools import cache

import onnx_graphsurgeon as gs
import torch
from agreement import agreement
from rich import box
from rich.console import Console
from rich.table import Table

import planish
from planish.backends.timing.bench import Subject, bench
from planish.cli.show.records import remark_lines
from planish.passes.analysis.cost import cost

import efficientnet_lite
from photographs import Crops


def pipelines(amount: float) -> dict[str, str]:
    """Return pipelines that prune `amount` of the multiply-accumulates by channels."""
    prune = (
        f"simplify,prune{{criterion=reconstruction,granularity=channel,amount={amount},of=macs}}"
    )
    return {
        "float32": "exact",
        "pruned": f"{prune},shrink-channels,exact",
        "recovered": f"{prune},recover{{mode=both,epochs=6}},shrink-channels,exact",
        "integers": f"{prune},recover{{mode=both,epochs=6}},shrink-channels,int8",
    }


def main() -> None:
    """Compress, and print MACs, agreement with the original and speed."""
    options = _options()
    console = Console()
    traced = planish.trace(efficientnet_lite.load(), (torch.zeros(efficientnet_lite.INPUT_SHAPE),))
    name = traced.inputs[0].name
    crops = Crops(name, options.crops, options.seed)
    judging = Crops(name, options.judge, options.seed + 1)
    target = f"cpu{{threads={options.threads}}}"

    @cache
    def run(text: str, before: str = "") -> tuple[gs.Graph, float]:
        """Return what `text` makes of what `before` makes, and the minutes that both take."""
        graph, spent = run(before) if before else (traced, 0.0)
        started = time.monotonic()
        result = planish.Pipeline.parse(text).run(graph, crops, verify="off", target=target)
        for line in remark_lines(result.records):
            console.print(line, highlight=False, markup=False)
        return result.graph, spent + (time.monotonic() - started) / 60

    graphs, minutes = {}, {}
    for label, pipeline in pipelines(options.amount).items():
        before, _, end = pipeline.rpartition(",shrink-channels,")
        last = f"shrink-channels,{end}" if before else end
        graphs[label], minutes[label] = run(last, before)
    table = Table("", box=box.SIMPLE)
    for column in ("MACs", "parameters", "top-1 agreement", "SQNR", "times as fast", "minutes"):
        table.add_column(column, justify="right")
    compiled = {label: planish.lower(g, threads=options.threads) for label, g in graphs.items()}
    feed = next(iter(judging))
    timings = bench(
        [Subject(label, each, feed) for label, each in compiled.items()], rounds=options.rounds
    )
    for timing, (label, graph) in zip(timings, graphs.items(), strict=True):
        agreed, sqnr = agreement(compiled["float32"], compiled[label], judging, console)
        spent = cost(graph)
        table.add_row(
            label,
            f"{spent.macs / 1e6:.0f} M",
            f"{spent.parameters / 1e6:.2f} M",
            f"{agreed:.1%}",
            f"{sqnr:.1f} dB",
            f"{1 / timing.ratio:.2f}",
            f"{minutes[label]:.1f}",
        )
    console.print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--amount", type=float, default=0.25, help="share of the MACs to remove")
    parser.add_argument("--crops", type=int, default=256, help="crops to compress on")
    parser.add_argument("--judge", type=int, default=300, help="other crops to judge on")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=60, help="timed rounds, interleaved")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
