"""Peak memory of `planish optimize` on a large model, from file to file.

    python -m benchmarks.memory [MEGABYTES ...]

A chain of convolutions, each with a normalization that is folded into its weights: every weight is
read and written. Each row is a fresh process, and its peaks are in parts of the model's size:
`resident` as the system counts it (VmHWM: private pages, and those of mapped files, which the
system may drop), and `private` pages alone, looked at every few milliseconds. What Python and the
libraries take themselves is seen on a model of next to nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

CHANNELS, FEW = 1024, 16  # a weight takes 38 MB, and 9 kB
WHERE = {"inside the file": False, "beside it": True}
VERIFY = {"verified": "end", "not verified": "off"}
_INTERVAL = 0.005
_TINY = 0.1


@dataclass(frozen=True)
class Peak:
    """The most memory that a process had, in bytes."""

    resident: int
    private: int


def write_model(path: Path, megabytes: float, *, beside: bool, channels: int = CHANNELS) -> int:
    """Write a model of about so many `megabytes`, its weights inside or beside it; return bytes."""
    generator = np.random.default_rng(0)
    layers = max(2, round(megabytes * 1e6 / (4 * 9 * channels**2)))
    nodes, constants, x = [], [], "x"
    for i in range(layers):
        weight = generator.standard_normal((channels, channels, 3, 3), np.float32)
        constants.append(numpy_helper.from_array(weight / (3 * channels**0.5), f"w{i}"))
        own = [f"{kind}{i}" for kind in ("scale", "bias", "mean", "var")]
        for name in own:
            values = generator.uniform(0.5, 1.5, channels).astype(np.float32)
            constants.append(numpy_helper.from_array(values, name))
        nodes += [
            helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", [f"c{i}", *own], [f"b{i}"], f"norm{i}"),
            helper.make_node("Relu", [f"b{i}"], [f"r{i}"], f"relu{i}"),
        ]
        x = f"r{i}"
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 4, 4])
        for name in ("x", x)
    ]
    graph = helper.make_graph(nodes, "chain", ports[:1], ports[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    data = f"{path.name}.weights"
    onnx.save(model, path, save_as_external_data=beside, location=data)
    return path.stat().st_size + (path.with_name(data).stat().st_size if beside else 0)


def peak_of(model: Path, out: Path, verify: str) -> Peak:
    """Return the peak of `planish optimize`; raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", "planish", "optimize", str(model), "-o", str(out)]
    environment = os.environ | {"PLANISH_SUPERVISE": "0"}
    with subprocess.Popen(
        [*command, "--verify", verify],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        resident = private = 0
        while process.poll() is None:
            found = _status(process.pid)
            resident = max(resident, found.get("VmHWM", 0))
            private = max(private, found.get("RssAnon", 0))
            time.sleep(_INTERVAL)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Peak(resident, private)


def _status(pid: int) -> dict[str, int]:
    """Return what Linux tells of a process in bytes; nothing once it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return {}
    return {name: 1024 * int(size) for name, size in re.findall(r"(\w+):\s*(\d+) kB", text)}


def main(sizes: list[float]) -> None:
    """Print one line for each size, place of the weights and kind of verification."""
    from planish.cli.show.plain import listing_table

    lines = []
    with tempfile.TemporaryDirectory() as name:
        model, out = Path(name) / "model.onnx", Path(name) / "out.onnx"
        for megabytes in (_TINY, *sizes):
            for place, beside in WHERE.items():
                channels = FEW if megabytes == _TINY else CHANNELS
                size = write_model(model, megabytes, beside=beside, channels=channels)
                for title, verify in VERIFY.items():
                    peak = peak_of(model, out, verify)
                    ratios = [
                        f"{each / size:.2f}" if megabytes > _TINY else ""
                        for each in (peak.resident, peak.private)
                    ]
                    held = [f"{each / 1e9:.2f} GB" for each in (peak.resident, peak.private)]
                    lines.append((f"{size / 1e9:.2f} GB", place, title, *held, *ratios))
    columns = ("model", "weights", "", "resident", "private", "by size", "private by size")
    Console().print(listing_table(lines, *columns))


if __name__ == "__main__":
    main([float(text) for text in sys.argv[1:]] or [1060.0])
