"""A network that is fed ever other numbers of images does not keep the memory of all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import planish

from tests.helpers import model_of

pytest.importorskip("tvm")

STATUS = Path("/proc/self/statm")
TEXT = """g (float[N, 16, 64, 64] x) => (float[] y) {
    a = MaxPool <kernel_shape = [1, 1]> (x) y = Relu (a)
}"""
_MOST = 40  # images, of 256 KiB each


@pytest.mark.skipif(not STATUS.exists(), reason="the system does not say how much memory is used")
@pytest.mark.slow  # what the process of a test holds besides tells in a run of all
def test_memory_of_few_numbers_of_images_is_kept() -> None:
    network = planish.lower(planish.load(model_of(TEXT, {})), "tvm", threads=1, check_kernels=False)

    def run(images: int) -> int:
        x = np.full((images, 16, 64, 64), images, np.float32)
        assert (network({"x": x})["y"] == images).all()
        del x
        return int(STATUS.read_text().split()[1]) * 4096

    before = run(1)
    after = [run(images) for images in range(2, _MOST + 1)]
    whole = sum(range(2, _MOST + 1)) * 16 * 64 * 64 * 4
    assert max(after) - before < whole / 2
