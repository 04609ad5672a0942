"""Time of the `exact` pipeline beside its peers: on long chains, on networks, and as a command.

    python -m benchmarks.linear [--repeats N] [NODES | FILE.onnx ...]

From a file to a written file, each tool in a fresh process that has imported it and optimized a
small chain, in turns. By default, Conv-BatchNormalization-Relu chains of 300 to 30,000 nodes, and
four networks as the TorchScript exporter writes them; files of other exporters can be named.
planish is measured without verification, and with it up to 9,000 nodes; onnxsim and onnxslim verify
nothing here. Times are CPU seconds of the process, and, in brackets, wall-clock seconds. Ratios are
of CPU time, medians over the turns: under 1, planish is the faster. At the end, the commands
`planish optimize` and `onnxsim` on the smallest network, from the start of the process to its exit.
Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

import planish
from planish.cli.show.plain import listing_table

from .ratios import Ratio

CHANNELS, REPEATS = 8, 3
LENGTHS = (300, 1000, 3000, 9000, 30000)
NETWORKS = ("mobilenet_v2", "efficientnet_b0", "densenet121", "resnet50")
PEERS = ("onnxsim", "onnxslim")
# Peers take minutes from here on: their time grows with the square of the length.
UP_TO = {"planish, verified": 9000, "onnxsim": 9000, "onnxslim": 1000}

Tool = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Seconds:
    """How long a run took: of CPU time, all threads together, and by the clock."""

    cpu: float
    wall: float


def chain(nodes: int) -> onnx.ModelProto:
    """Return a chain of so many nodes: Conv, BatchNormalization and Relu in turn."""
    generator = np.random.default_rng(0)
    made: list[onnx.NodeProto] = []
    weights = []
    x = "x"
    for i in range(nodes // 3):
        values = {
            f"weight{i}": generator.standard_normal((CHANNELS, CHANNELS, 3, 3)) / 9,
            f"scale{i}": generator.standard_normal(CHANNELS),
            f"shift{i}": generator.standard_normal(CHANNELS),
            f"mean{i}": generator.standard_normal(CHANNELS),
            f"var{i}": generator.uniform(0.5, 2, CHANNELS),
        }
        weights += [numpy_helper.from_array(v.astype(np.float32), k) for k, v in values.items()]
        weight, *statistics_of = values
        made += [
            helper.make_node("Conv", [x, weight], [f"c{i}"], f"conv{i}", pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", [f"c{i}", *statistics_of], [f"b{i}"], f"bn{i}"),
            helper.make_node("Relu", [f"b{i}"], [f"r{i}"], f"relu{i}"),
        ]
        x = f"r{i}"
    shape = [1, CHANNELS, 8, 8]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        made,
        "chain",
        [value("x", TensorProto.FLOAT, shape)],
        [value(x, TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def network(name: str, folder: Path) -> Path:
    """Export an example network by the TorchScript exporter, and return its file."""
    import torch

    from examples import models

    path = folder / f"{name}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = models.example_inputs(name)
        torch.onnx.export(models.build(name).eval(), inputs, path, dynamo=False)
    return path


def run_planish(verify: str) -> Tool:
    """Return load, `exact` and save, with the given verification."""

    def run(source: Path, target: Path) -> None:
        graph = planish.load(source)
        result = planish.Pipeline.parse("exact").run(graph, verify=verify)  # type: ignore[arg-type]
        planish.save(result.graph, target)

    return run


def run_onnxsim(source: Path, target: Path) -> None:
    """Simplify with onnxsim."""
    import onnxsim

    model, _ = onnxsim.simplify(onnx.load(source))
    onnx.save(model, target)


def run_onnxslim(source: Path, target: Path) -> None:
    """Simplify with onnxslim."""
    import onnxslim

    onnx.save(onnxslim.slim(onnx.load(source)), target)


def seconds(run: Tool, source: Path) -> Seconds:
    """Return the time of one run in a process of its own, imports not counted."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        with tempfile.TemporaryDirectory() as folder:
            warm = Path(folder) / "warm.onnx"
            onnx.save(chain(30), warm)
            run(warm, Path(folder) / "out.onnx")  # loads what the tool imports
            cpu, wall = time.process_time(), time.perf_counter()
            run(source, Path(folder) / "out.onnx")
            sender.send(Seconds(time.process_time() - cpu, time.perf_counter() - wall))

    process = context.Process(target=child)
    process.start()
    found = receiver.recv()
    process.join()
    assert isinstance(found, Seconds)
    return found


def command_seconds(arguments: Sequence[str | Path], target: Path) -> Seconds:
    """Return the time of a command that writes `target`, from its start to its exit."""
    import resource

    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if not target.exists():
        raise SystemExit(f"{arguments[0]} wrote nothing")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Seconds(cpu, time.perf_counter() - wall)


def in_turns(tools: Mapping[str, Callable[[], Seconds]], repeats: int) -> dict[str, list[Seconds]]:
    """Return the times of each tool, all of them in every turn."""
    found: dict[str, list[Seconds]] = {name: [] for name in tools}
    for _ in range(repeats):
        for name, run in tools.items():
            found[name].append(run())
    return found


def rows(subject: str, nodes: int, times: Mapping[str, Sequence[Seconds]]) -> list[tuple[str, ...]]:
    """Return a row for each tool."""
    base = times.get("onnxsim")
    found = []
    for name, each in times.items():
        cpu = statistics.median(t.cpu for t in each)
        wall = statistics.median(t.wall for t in each)
        ratio = "" if base is None else str(Ratio.of([t.cpu for t in each], [t.cpu for t in base]))
        per_node = f"{1e6 * cpu / nodes:.0f} us" if nodes else ""
        found.append((subject, name, f"{cpu:.2f} s ({wall:.2f})", per_node, ratio))
    return found


def commands(source: Path, folder: Path) -> dict[str, Callable[[], Seconds]]:
    """Return the commands that optimize `source`."""
    target = folder / "command.onnx"
    arguments: dict[str, Sequence[str | Path]] = {
        "planish optimize": ["planish", "optimize", source, "-o", target],
        "onnxsim": ["onnxsim", source, target],
    }
    if importlib.util.find_spec("onnxsim") is None:
        del arguments["onnxsim"]
    return {
        name: lambda given=given: command_seconds(given, target)  # type: ignore[misc]
        for name, given in arguments.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("subjects", nargs="*")
    asked = parser.parse_args()
    tools: dict[str, Tool] = {
        "planish": run_planish("off"),
        "planish, verified": run_planish("end"),
    }
    peers: dict[str, Tool] = {"onnxsim": run_onnxsim, "onnxslim": run_onnxslim}
    tools |= {name: run for name, run in peers.items() if importlib.util.find_spec(name)}
    table: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for subject in asked.subjects or (*map(str, LENGTHS), *NETWORKS):
            if subject.isdigit():
                source = folder / f"{subject}.onnx"
                onnx.save(chain(int(subject)), source)
            else:
                source = Path(subject) if subject.endswith(".onnx") else network(subject, folder)
            nodes = len(onnx.load(source, load_external_data=False).graph.node)
            runs = {
                tool: lambda run=run, source=source: seconds(run, source)  # type: ignore[misc]
                for tool, run in tools.items()
                if nodes <= UP_TO.get(tool, nodes)
            }
            label = f"{source.stem}, {nodes}" if not subject.isdigit() else subject
            table += rows(label, nodes, in_turns(runs, asked.repeats))
        if not asked.subjects:
            source = folder / f"{NETWORKS[0]}.onnx"
            times = in_turns(commands(source, folder), asked.repeats)
            table += rows(f"command, {NETWORKS[0]}", 0, times)
    headings = ("graph, nodes", "tool", ">CPU (wall)", ">per node", ">CPU, times onnxsim's")
    Console().print(listing_table(table, *headings))


if __name__ == "__main__":
    main()
