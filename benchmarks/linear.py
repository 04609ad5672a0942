"""Time of the `exact` pipeline on long Conv-BatchNormalization-Relu chains, beside its peers.

    python -m benchmarks.linear [NODES ...]

Prints seconds from the bytes of a model to a written file, each tool in a fresh process, and the
time per node at growing lengths. Peers that are not installed are left out.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

import planish
from planish.cli.show.plain import listing_table

CHANNELS, REPEATS = 8, 3
LENGTHS = (3000, 9000, 30000)
# onnxslim takes minutes from here on: its time grows with the square of the length.
PEERS_UP_TO = {"onnxsim": 9000, "onnxslim": 3000}


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


def run_planish(verify: str) -> Callable[[Path, Path], None]:
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


def seconds(run: Callable[[Path, Path], None], source: Path) -> float:
    """Return the time of one run in a process of its own, imports not counted."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        with tempfile.TemporaryDirectory() as folder:
            warm = Path(folder) / "warm.onnx"
            onnx.save(chain(30), warm)
            run(warm, Path(folder) / "out.onnx")  # loads what the tool imports
            started = time.perf_counter()
            run(source, Path(folder) / "out.onnx")
            sender.send(time.perf_counter() - started)

    process = context.Process(target=child)
    process.start()
    found = float(receiver.recv())
    process.join()
    return found


def main() -> None:
    """Measure and print."""
    console = Console()
    lengths = [int(text) for text in sys.argv[1:]] or LENGTHS
    tools = {"planish": run_planish("off"), "planish, verified": run_planish("end")}
    peers = {"onnxsim": run_onnxsim, "onnxslim": run_onnxslim}
    tools |= {name: run for name, run in peers.items() if importlib.util.find_spec(name)}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for length in lengths:
            source = Path(folder) / f"{length}.onnx"
            onnx.save(chain(length), source)
            times: dict[str, list[float]] = {name: [] for name in tools}
            for repeat in range(REPEATS):
                for name, run in tools.items():
                    slow = name == "onnxslim" and repeat
                    if not slow and length <= PEERS_UP_TO.get(name, length):
                        times[name].append(seconds(run, source))
            base = statistics.median(times["planish"])
            for name, found in times.items():
                if found:
                    median = statistics.median(found)
                    rows.append(
                        (
                            str(length),
                            name,
                            f"{median:.2f} s",
                            f"{1e6 * median / length:.0f} us",
                            f"{median / base:.2f}",
                        )
                    )
    console.print(listing_table(rows, ">nodes", "tool", ">time", ">per node", ">ratio to planish"))


if __name__ == "__main__":
    main()
