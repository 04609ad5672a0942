"""The example that trains, searches and judges, on a handful of images; its search is stood in."""

from __future__ import annotations

import gzip
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
RNG = np.random.default_rng(0)


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import search_labelled_images

    return search_labelled_images


@pytest.fixture
def folder(tmp_path):
    """Write the four files with 24 and 8 images; the n-th has its number in its first pixel."""
    for part, count in (("train", 24), ("t10k", 8)):
        images = RNG.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        images[:, 0, 0] = np.arange(count)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, array in ((f"{part}-images-idx3", images), (f"{part}-labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            (tmp_path / f"{name}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    return tmp_path


def test_files_of_images_and_labels_are_read(example, folder):
    data = example.fashion(folder)
    assert data.images.shape == (24, 1, 28, 28)
    assert data.images.dtype == np.float32
    np.testing.assert_allclose(data.images[:, 0, 0, 0] * 255, np.arange(24), rtol=1e-6)
    assert data.answers.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(SystemExit, match="apt install dataset-fashion-mnist"):
        example.fashion(folder / "nowhere")


@pytest.mark.slow  # PyTorch trains and exports
def test_it_trains_searches_and_judges(example, folder, monkeypatch, capsys):
    asked = []

    def search(command, check):
        asked.extend(command)
        shutil.copy(command[command.index("search") + 1], command[command.index("-o") + 1])

    monkeypatch.setattr(example.subprocess, "run", search)
    words = ["--fashion", str(folder), "--epochs", "1", "--out", str(folder / "out")]
    monkeypatch.setattr(sys, "argv", ["search_labelled_images.py", *words, "--speedup", "4x"])
    example.main()
    assert asked[-2:] == ["--speedup", "4x"]
    with np.load(folder / "out" / "feeds.npz") as feeds:
        assert {name: len(feeds[name]) for name in feeds} == {"input": 24, "label": 24}
    before, after = capsys.readouterr().out.split("8 unseen images: ")[1].split(" before, ")
    assert after.startswith(before)
