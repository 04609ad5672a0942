"""How fast runtimes run the same files: float32, bfloat16 and int8, each in a process of its own.

    python -m benchmarks.race [NETWORK | FILE.onnx ...] [--precisions float32 bfloat16 int8]
                              [--threads 2] [--bursts 15] [--files FOLDER] [--json FILE]

planish makes all files: float32 is what `exact` gives, and bfloat16 and int8 are made of that, with
no layer left in float32 that need not be. All runtimes of a network are there at once; bursts of
runs take turns, in an order that is shuffled anew each time, and threads that spin are waited for.
A run's time is the 20th percentile of its burst, a ratio the median over the turns of a runtime's
time by TVM's in the same turn (above 1: TVM is faster), with quartiles behind it. `error` is the
largest difference from ONNX Runtime's float32 outputs, by their range; integers and bfloat16 differ
by what these are.

`--files` keeps models and compiled networks, and takes those that are there; they are of this
machine, and of this planish. `--json` writes what was measured, with versions.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import planish
from planish.backends.auto.messages import Job
from planish.backends.auto.running import Running
from planish.backends.contract.backend_text import BackendText
from planish.backends.contract.registry import get_backend
from planish.ir.core.cpu import cpu_name
from planish.ir.core.extras import installed_version

from .ratios import Ratio, geometric_mean

NETWORKS = (
    "resnet18",
    "resnet50",
    "vgg16",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "googlenet",
    "shufflenet_v2",
    "densenet121",
    "efficientnet_b0",
)
OURS = "tvm"
_INT8 = (
    "inline-fused-operators,align-depthwise{multiple=16},lower-conv-transpose,"
    "quantize{calibration=min-max,measure=false,guard=off,correct-bias=false,channel-scales=false}"
)
# What makes the file of each precision of that of float32, and who runs it.
PIPELINES = {
    "float32": "exact",
    "bfloat16": "mix-precision{guard=off}",
    "int8": _INT8,
}
RUNTIMES: Mapping[str, Sequence[str]] = {
    "float32": ("tvm", "onnxruntime", "openvino"),
    "bfloat16": ("tvm", "openvino{precision=bfloat16}"),
    "int8": ("tvm", "onnxruntime", "openvino"),
}
_BURST = 0.2  # seconds
_PATIENCE = 600.0  # seconds
_PACKAGES = ("onnxruntime", "openvino", "apache-tvm", "numpy")


@dataclass
class Row:
    """One runtime on one network; `ratio` is its time by TVM's, None where there is none."""

    network: str
    precision: str
    runtime: str
    milliseconds: float | None = None
    ratio: Ratio | None = None
    error: float | None = None
    lowering_seconds: float | None = None
    refused: str | None = None

    def __str__(self) -> str:
        """Write it as a line of the table."""
        head = f"{self.network:20} {self.precision:9} {self.runtime:12}"
        if self.milliseconds is None:
            return f"{head} refused: {self.refused}"
        return (
            f"{head} {self.milliseconds:8.2f} ms  {self.ratio or ''!s:22} {self.error:9.1e}"
            f" {self.lowering_seconds:7.1f} s"
        )


@dataclass
class Race:
    """What all runtimes did, and on what."""

    threads: int
    versions: dict[str, str | None]
    cpu: str
    rows: list[Row] = field(default_factory=list)

    def summary(self) -> list[str]:
        """Return a line a precision and peer: the geometric mean, and the least."""
        lines = []
        for precision, runtimes in RUNTIMES.items():
            for runtime in (_plain(each) for each in runtimes):
                found = [
                    (row.ratio.middle, row.network)
                    for row in self.rows
                    if (row.precision, row.runtime) == (precision, runtime) and row.ratio
                ]
                if found and runtime != OURS:
                    mean = geometric_mean(ratio for ratio, _ in found)
                    least = min(found)
                    lines.append(
                        f"{precision}, {OURS} over {runtime}: {mean:.2f}x (geometric mean of "
                        f"{len(found)}), least {least[0]:.2f}x ({least[1]})"
                    )
        return lines + self._gains()

    def _gains(self) -> list[str]:
        """Return how many times as fast as its own float32 TVM is on the others."""
        times = {
            (row.network, row.precision): row.milliseconds
            for row in self.rows
            if row.runtime == OURS and row.milliseconds
        }
        lines = []
        for precision in [each for each in PIPELINES if each != "float32"]:
            gains = {
                network: times[network, "float32"] / took
                for (network, its), took in times.items()
                if its == precision and (network, "float32") in times
            }
            if gains:
                told = ", ".join(f"{network} {gain:.2f}" for network, gain in gains.items())
                lines.append(f"{precision} over float32, both {OURS}: {told}")
        return lines


def files_of(name: str, precisions: Sequence[str], folder: Path) -> dict[str, Path]:
    """Return the file of each precision, made where it is not there."""
    found = {each: folder / f"{each}.onnx" for each in dict.fromkeys(["float32", *precisions])}
    if not found["float32"].exists():
        planish.save(
            planish.Pipeline.parse("exact").run(_graph(name), verify="off").graph, found["float32"]
        )
    for precision, path in found.items():
        if not path.exists():
            graph = planish.load(found["float32"])
            pipeline = planish.Pipeline.parse(PIPELINES[precision])
            feeds = planish.random_feeds(graph, samples=4)
            planish.save(pipeline.run(graph, feeds, verify="off").graph, path)
    return found


def _graph(name: str) -> Any:
    if name.endswith(".onnx"):
        return planish.load(name)
    from examples import models

    return planish.trace(models.build(name), models.example_inputs(name))


def race(name: str, given: argparse.Namespace, folder: Path) -> list[Row]:
    """Return the rows of one network, in the order of the table."""
    folder.mkdir(parents=True, exist_ok=True)
    files = files_of(name, given.precisions, folder)
    feed = planish.random_feeds(planish.load(files["float32"]), samples=1)[0]
    label = Path(name).stem
    rows: list[Row] = []
    with contextlib.ExitStack() as alive:
        running: dict[tuple[str, str], Running] = {}
        for precision in given.precisions:
            for text in RUNTIMES[precision]:
                runtime = _plain(text)
                if given.runtimes and runtime not in given.runtimes:
                    continue
                row = Row(label, precision, runtime)
                rows.append(row)
                file = files["float32"] if "{" in text else files[precision]
                try:
                    one = start(file, text, precision, folder, feed, given.threads)
                except planish.PlanishError as error:
                    row.refused = " ".join(str(error).split())[:200]
                    continue
                running[precision, runtime] = alive.enter_context(one)
                row.lowering_seconds = one.ready.seconds
        times = take_turns(running, given.bursts, given.seed)
        expected = reference(files["float32"], feed)
        for row in rows:
            taken = times.get((row.precision, row.runtime))
            if taken is None:
                continue
            row.milliseconds = 1e3 * float(np.median(taken))
            row.error = _error(running[row.precision, row.runtime].ready.outputs[0], expected)
            ours = times.get((row.precision, OURS))
            if ours is not None and row.runtime != OURS:
                row.ratio = Ratio.of(taken, ours)
    return rows


def start(file: Path, text: str, precision: str, folder: Path, feed: Any, threads: int) -> Running:
    """Start the process of one runtime, from what it has compiled before if that is there."""
    backend = get_backend(BackendText.parse(text).name)
    artifact = folder / f"{precision}-{backend.name}.compiled"
    job = Job(
        model=str(artifact if artifact.exists() and backend.name == OURS else file),
        backend=text,
        target="cpu",
        threads=threads,
        feeds=[feed],
        artifact=str(artifact),
    )
    return Running(job, backend, folder / f"{precision}-{backend.name}.log", _PATIENCE)


def take_turns(
    running: Mapping[tuple[str, str], Running], bursts: int, seed: int
) -> dict[tuple[str, str], list[float]]:
    """Return the seconds of each in each turn; the first turn is not counted."""
    times: dict[tuple[str, str], list[float]] = {each: [] for each in running}
    order, generator = list(running), random.Random(seed)
    for _ in range(bursts + 1):
        generator.shuffle(order)
        for each in order:
            times[each].append(running[each].burst(_BURST))
    return {each: taken[1:] for each, taken in times.items()}


def reference(file: Path, feed: Any) -> Mapping[str, np.ndarray[Any, Any]]:
    """Return the outputs of ONNX Runtime."""
    return planish.lower(file, backend="onnxruntime", threads=1)(feed)


def _error(found: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    return max(
        float(np.abs(found[key].astype(np.float64) - values).max() / max(np.ptp(values), 1e-30))
        for key, values in expected.items()
    )


def _plain(text: str) -> str:
    return BackendText.parse(text).name


def main() -> None:
    """Print a row for each runtime, and geometric means."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--precisions", nargs="+", choices=PIPELINES, default=list(PIPELINES))
    parser.add_argument("--runtimes", nargs="+", help="only these; by default all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bursts", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", type=Path, help="folder that keeps what is made")
    parser.add_argument("--json", type=Path, help="file to write what was measured to")
    given = parser.parse_args()
    result = Race(
        given.threads,
        {"planish": planish.__version__, **{each: installed_version(each) for each in _PACKAGES}},
        f"{cpu_name()}, {platform.system()}, Python {platform.python_version()}",
    )
    print(f"{'':43} {'a run':>11}  {'by TVM':22} {'error':>9} {'lowering':>9}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.networks:
            for row in race(name, given, (given.files or Path(scratch)) / Path(name).stem):
                print(row, flush=True)
                result.rows.append(row)
    print(*result.summary(), sep="\n")
    if given.json:
        given.json.write_text(json.dumps(asdict(result), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
