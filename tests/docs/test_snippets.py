"""The blocks of README, CONTRIBUTING and the guides run as they stand, in order, page by page.

Each page starts in a folder of its own that holds what readers have too: `model.onnx`, a small
network of input x [N, 3, 32, 32], and `images/`, a few pictures.
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from PIL import Image

from planish.backends.contract import registry as backends
from planish.passes.pipeline import registry as passes

from tests.docs.snippets import MODULE, ROOT, blocks, run
from tests.helpers import model_of

pytestmark = pytest.mark.usefixtures("brief_bench", "code_as_it_is")

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if "decisions" not in p.parts),
]
WITH_BLOCKS = [page for page in PAGES if any(block.runs for block in blocks(page))]

NETWORK = """
    g (float[N, 3, 32, 32] x) => (float[N, 10] logits) {
        c1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (x, conv1)
        n1 = BatchNormalization (c1, scale, shift, mean, var)
        a1 = Relu (n1)
        c2 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (a1, conv2)
        n2 = BatchNormalization (c2, scale, shift, mean, var)
        a2 = Relu (n2)
        s = Add (a1, a2)
        i = Identity (s)
        p = GlobalAveragePool (i)
        f = Flatten (p)
        logits = Gemm <transB = 1> (f, fc, bias)
    }"""


def network() -> onnx.ModelProto:
    generator = np.random.default_rng(0)

    def normal(*shape):
        return (generator.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    weights = {"conv1": normal(16, 3, 3, 3), "conv2": normal(16, 16, 3, 3), "fc": normal(10, 16)}
    weights |= {name: normal(16, 1)[:, 0] for name in ("shift", "mean")}
    weights |= {name: generator.uniform(0.5, 2, 16).astype(np.float32) for name in ("scale", "var")}
    return model_of(NETWORK, weights | {"bias": np.zeros(10, np.float32)})


@pytest.fixture(autouse=True)
def registries():
    """Forget what the blocks of a page registered."""
    passes.all_passes(), backends.all_backends()
    registered = [passes.REGISTERED, backends.REGISTERED]
    before = [dict(known) for known in registered]
    yield
    for known, kept in zip(registered, before, strict=True):
        known.clear()
        known.update(kept)
    for name in [name for name in sys.modules if name.endswith(f".{MODULE}")]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    onnx.save(network(), tmp_path / "model.onnx")
    (tmp_path / "images").mkdir()
    generator = np.random.default_rng(1)
    for index in range(8):
        pixels = generator.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page, folder):
    namespace = {"__name__": "__main__"}
    for block in blocks(page):
        if block.runs:
            run(block, page, namespace)


def test_blocks_are_found():
    names = {str(page.relative_to(ROOT)) for page in WITH_BLOCKS}
    assert {"README.md", "CONTRIBUTING.md", "docs/start.md"} <= names
