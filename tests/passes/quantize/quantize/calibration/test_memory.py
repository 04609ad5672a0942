"""Peak memory of a process that calibrates on 50 and on 250 samples."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# 256 KiB a sample: held, 200 more of them would add 50 MiB.
SHAPE = (16, 64, 64)
SCRIPT = """
import os, re
import numpy as np
import planish
from planish.passes.quantize.quantize.calibration.calibrate import calibrate
from planish.ir.run.replay import replayable

graph = planish.load("m.onnx")

def generated(count):
    draw = np.random.default_rng(0)
    for _ in range(count):
        yield {"x": draw.standard_normal((1, 16, 64, 64), np.float32)}

def measure(method, source, count):
    given = generated(count) if source == "generator" else f"{count}.npz"
    feeds = given if source == "generator" else planish.load_feeds(given, graph)
    with replayable(feeds) as feeds:
        for _ in range(2):
            calibrate(graph, ["x", "a", "y"], feeds, method=method)
    with open("/proc/self/status") as status:
        print(re.search(r"VmHWM:\\s*(\\d+) kB", status.read())[1], flush=True)

# What is imported once is there in all; the peak of each is its own.
for method, source in (("min-max", "npz"), ("mse", "generator")):
    for count in (50, 250):
        process = os.fork()
        if not process:
            measure(method, source, count)
            os._exit(0)
        os.waitpid(process, 0)
"""
MODEL = """<ir_version: 9, opset_import: ["" : 18]>
g (float[N, 16, 64, 64] x) => (float[N, 16, 64, 64] y) { a = Relu(x) y = Neg(a) }"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read there")
def test_memory_does_not_grow_with_samples(tmp_path):
    import onnx

    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "m.onnx")
    for count in (50, 250):
        draw = np.random.default_rng(0)
        np.savez(tmp_path / f"{count}.npz", x=draw.standard_normal((count, *SHAPE), np.float32))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    peaks = [int(line) for line in done.stdout.split()]
    assert len(peaks) == 4
    for few, many in (peaks[:2], peaks[2:]):
        assert many < 1.1 * few, peaks
