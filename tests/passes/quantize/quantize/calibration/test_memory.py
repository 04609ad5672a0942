"""Peak memory of a process that calibrates on 50 and on 250 samples."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[5]
# 256 KiB a sample: held, 200 more of them would add 50 MiB.
SHAPE = (16, 64, 64)
SCRIPT = """
import re, sys
import numpy as np
import planish
from planish.passes.quantize.quantize.calibration.calibrate import calibrate
from planish.ir.run.replay import replayable

method, source, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
graph = planish.load(sys.argv[4])

def generated():
    draw = np.random.default_rng(0)
    for _ in range(count):
        yield {"x": draw.standard_normal((1, 16, 64, 64), np.float32)}

feeds = generated() if source == "generator" else planish.load_feeds(source, graph)
with replayable(feeds) as feeds:
    for _ in range(2):
        calibrate(graph, ["x", "a", "y"], feeds, method=method)
with open("/proc/self/status") as status:
    print(re.search(r"VmHWM:\\s*(\\d+) kB", status.read())[1])
"""
MODEL = """<ir_version: 9, opset_import: ["" : 18]>
g (float[N, 16, 64, 64] x) => (float[N, 16, 64, 64] y) { a = Relu(x) y = Neg(a) }"""


def peak(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        check=True, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read there")
@pytest.mark.parametrize(("method", "source"), [("min-max", "npz"), ("mse", "generator")])
def test_memory_does_not_grow_with_samples(tmp_path, method, source):
    import onnx

    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "m.onnx")
    peaks = []
    for count in (50, 250):
        given = source
        if source == "npz":
            draw = np.random.default_rng(0)
            given = tmp_path / f"{count}.npz"
            np.savez(given, x=draw.standard_normal((count, *SHAPE), np.float32))
        peaks.append(peak(method, given, count, tmp_path / "m.onnx"))
    assert peaks[1] < 1.1 * peaks[0], peaks
