"""What more threads can gain: how the parts of each kernel of the TVM backend go round.

    python -m benchmarks.balance FILE.onnx ... [--threads 1 2 4 8 16 64] [--worst N]

Each kernel is timed on one thread, and the network is lowered for every number of threads, which
tells how many parts each kernel has then. `best` is the speed-up were all work divisible, 1 to 1;
`foretold` that of equal parts of which no thread does more than its share rounded up, with one
exchange of cache lines a stage. Memory that threads share, and clocks that fall, are left out: it
is a bound from the partition, not a measurement. `--worst` lists the kernels that lose most on the
largest number of threads.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

import planish
from planish.backends.contract.prepare import prepare
from planish.backends.tvm.compile.build import scheduled
from planish.backends.tvm.compile.call_sequence import read_calls
from planish.backends.tvm.compile.team import stages_of
from planish.backends.tvm.kernels.settings import Settings
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import machine_of
from planish.ir.core.target import Target

THREADS = (1, 2, 4, 8, 16, 64)
_EXCHANGE = 0.3e-6  # seconds that a stage costs where threads wait for each other


@dataclass(frozen=True)
class Part:
    """A call of `kernel`: its seconds on one thread, and the parts of its largest stage."""

    kernel: str
    seconds: float
    parts: int

    def on(self, threads: int) -> float:
        """Return the seconds that are foretold for so many threads."""
        if threads == 1:
            return self.seconds
        return self.seconds * math.ceil(self.parts / threads) / self.parts + _EXCHANGE


def parts_of(graph: gs.Graph, threads: int, seconds: Mapping[str, float]) -> list[Part]:
    """Return the calls of `graph` as it is lowered for so many threads, in their order.

    What starts threads itself, or is ONNX Runtime's, is taken for one part.
    """
    machine = machine_of(Target.parse("cpu"))
    emitter = BlockedEmitter(prepare(graph), machine, Settings(threads=threads))
    module = scheduled(lower_graph(emitter).module, machine, threads)
    sequence = read_calls(module, module["main"])
    if sequence is None or sequence.images is not None:
        raise SystemExit("the network has sizes that are not known")
    found = []
    for call in sequence.calls:
        stages = stages_of(module[call.kernel])
        count = max(stage.parts for stage in stages.stages) if stages else 1
        name = str(call.kernel.name_hint)
        found.append(Part(name, seconds.get(name, 0.0), count))
    return found


def seconds_of(graph: gs.Graph) -> dict[str, float]:
    """Return the seconds of each kernel of `graph` on one thread, the mean over its calls."""
    compiled = planish.lower(graph, "tvm", threads=1, check_kernels=False)
    feeds = planish.random_feeds(graph, samples=1)[0]
    times: dict[str, list[float]] = defaultdict(list)
    for layer in compiled.time_layers(feeds).layers:
        times[layer.kernel].append(layer.seconds)
    return {kernel: float(np.mean(several)) for kernel, several in times.items()}


def report(name: str, threads: Sequence[int], worst: int) -> None:
    """Print a line a number of threads, and the kernels that lose most on the last of them."""
    graph = planish.load(name)
    seconds = seconds_of(graph)
    whole, parts = 0.0, list[Part]()
    for count in threads:
        parts = parts_of(graph, count, seconds)
        whole = sum(part.seconds for part in parts)
        foretold = sum(part.on(count) for part in parts)
        idle = [part for part in parts if part.parts < count]
        share = sum(part.seconds for part in idle) / whole
        print(
            f"{name[-40:]:40} {count:3} threads  best {count:5.1f}x  "
            f"foretold {whole / foretold:5.1f}x  fewer parts than threads: "
            f"{len(idle)} of {len(parts)} calls, {share:.0%} of the time"
        )
    most = threads[-1]
    lost = sorted(parts, key=lambda part: part.on(most) - part.seconds / most, reverse=True)
    for part in lost[:worst]:
        print(f"  {part.kernel:24} {part.seconds * 1e6:8.0f} us in {part.parts:5} parts")


def main() -> None:
    """Read the command line, and report each network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("files", nargs="+", metavar="FILE.onnx")
    parser.add_argument("--threads", nargs="+", type=int, default=list(THREADS))
    parser.add_argument("--worst", type=int, default=0, metavar="N")
    given = parser.parse_args()
    for name in given.files:
        report(name, given.threads, given.worst)


if __name__ == "__main__":
    main()
