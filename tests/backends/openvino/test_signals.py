"""Signals after networks of OpenVINO are gone."""

import subprocess
import sys

import pytest

from tests.helpers import conv_batchnorm

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'planish[openvino]'")

PROGRAM = """
import gc, os, signal, sys, threading, time
import numpy as np
import planish

path, feeds = sys.argv[2], {"x": np.zeros((2, 3, 9, 9), np.float32)}
network = planish.lower(sys.argv[1], "openvino", threads=1)
for _ in range(2):
    network.save(path)
    network = planish.load_compiled(path, threads=2)
    network(feeds)
del network
gc.collect()
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    time.sleep(30)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_after_a_network_was_freed(tmp_path):
    model = tmp_path / "m.onnx"
    model.write_bytes(conv_batchnorm(8).SerializeToString())
    command = [sys.executable, "-c", PROGRAM, str(model), str(tmp_path / "m.planish")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (found.returncode, found.stdout) == (0, "interrupted\n")
