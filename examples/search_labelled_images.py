"""A network that is trained here, searched within a budget, judged on images nobody has seen.

    python examples/search_labelled_images.py                       handwritten digits
    apt install dataset-fashion-mnist                               Debian's package of the data
    python examples/search_labelled_images.py --fashion             Fashion-MNIST
    python examples/search_labelled_images.py --fashion FOLDER      its four files are elsewhere
    python examples/search_labelled_images.py --speedup 4x          another budget, other options

The files are `train-images-idx3-ubyte.gz` and so on. What the search learns from are images of the
training set, and it judges others of them by their labels; the test set judges in the end.
"""

from __future__ import annotations

import argparse
import gzip
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

import planish

import digits
from digits import Digits

# Narrow: an epoch of 60,000 images takes a core two minutes.
_WIDTHS = (16, 32, 64)
_BUDGET = ("--max-drop", "0.5%", "--speedup", "5x", "--backend", "auto")
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def read_idx(path: Path) -> np.ndarray:
    """Return the bytes of an IDX file, in the shape that it says."""
    content = gzip.decompress(path.read_bytes())
    rank = content[3]
    shape = np.frombuffer(content, ">i4", rank, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def fashion(folder: Path) -> Digits:
    """Return the images of Fashion-MNIST, N x 1 x 28 x 28 in 0 to 1, and their classes."""
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        raise SystemExit(
            f"'{folder}' has no train-images-idx3-ubyte.gz; `apt install dataset-fashion-mnist` "
            "puts it there, or name the folder where it is"
        )
    parts = []
    for part in ("train", "t10k"):
        images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
        parts.append((images[:, None] / 255).astype(np.float32))
        parts.append(read_idx(folder / f"{part}-labels-idx1-ubyte.gz").astype(np.int64))
    return Digits(*parts)


def trained(data: Digits, widths: tuple[int, ...], epochs: int) -> torch.nn.Module:
    """Return a residual network that was trained on `data`."""
    torch.manual_seed(0)
    module = digits.network(widths)
    optimizer = torch.optim.AdamW(module.parameters(), 2e-3, weight_decay=0.05)
    digits.train(module, optimizer, data.images, data.labels, epochs, digits.shifted)
    return module


def accuracy(model: Path, data: Digits) -> float:
    """Return the share of unseen images that `model` classifies rightly."""
    graph = planish.load(model)
    run = planish.lower(graph, threads=1)
    (name,) = (tensor.name for tensor in graph.inputs)
    scores = [next(iter(run({name: image[None]}).values())) for image in data.unseen]
    return float(np.mean(np.concatenate(scores).argmax(1) == data.answers))


def main() -> None:
    """Train, search, and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--fashion", type=Path, nargs="?", const=_DEBIAN, help="Fashion-MNIST, from this folder"
    )
    parser.add_argument("--epochs", type=int, help="default: 30, of Fashion-MNIST 5")
    parser.add_argument("--samples", type=int, default=800, help="that the search is given")
    parser.add_argument("--out", type=Path, default=Path("searched"), help="a folder")
    given, budget = parser.parse_known_args()
    data = digits.data() if given.fashion is None else fashion(given.fashion)
    epochs = given.epochs or (30 if given.fashion is None else 5)
    widths = digits.WIDTHS if given.fashion is None else _WIDTHS
    given.out.mkdir(parents=True, exist_ok=True)
    model, small = given.out / "model.onnx", given.out / "small.onnx"
    if not model.exists():
        started = time.perf_counter()
        module = trained(data, widths, epochs)
        planish.save(planish.trace(module, (torch.zeros(1, *data.images.shape[1:]),)), model)
        print(f"trained in {time.perf_counter() - started:.0f} s")
    (name,) = (tensor.name for tensor in planish.load(model).inputs)
    some = {name: data.images[: given.samples], "label": data.labels[: given.samples]}
    np.savez(given.out / "feeds.npz", **some)
    command = [sys.executable, "-m", "planish", "search", str(model), "-o", str(small)]
    command += ["--feeds", str(given.out / "feeds.npz"), "--labels", "label", "--threads", "1"]
    subprocess.run([*command, *(budget or _BUDGET)], check=False)
    before, after = accuracy(model, data), accuracy(small, data)
    print(f"{len(data.answers)} unseen images: {before:.2%} before, {after:.2%} after")


if __name__ == "__main__":
    main()
