"""A small residual network on scikit-learn's handwritten digits: 1,797 images of 8 x 8.

The other examples compress and quantize it. Its 3x3 convolutions carry nearly all the work, and its
widths leave multiples of 16 when they are halved. Seconds on a CPU; seeded.

    python examples/digits.py
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

WIDTHS = (32, 64, 128)


@dataclass(frozen=True)
class Digits:
    """Images N x 1 x 8 x 8 in 0 to 1 (float32) and digits (int64), to train on and to judge by."""

    images: np.ndarray
    labels: np.ndarray
    unseen: np.ndarray
    answers: np.ndarray


def data() -> Digits:
    """Return the digits, a third of each kind held out; the same split every time."""
    found = load_digits()
    images = (found.images[:, None] / 16).astype(np.float32)
    images, unseen, labels, answers = train_test_split(
        images, found.target, test_size=1 / 3, random_state=0, stratify=found.target
    )
    return Digits(images, labels, unseen, answers)


class Block(nn.Module):
    """relu(conv(relu(conv(x))) + x), the shortcut a 1x1 convolution where the shape changes."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or into != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's result, N x out x H / stride x W / stride."""
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


def network(widths: tuple[int, ...] = WIDTHS, blocks: int = 2) -> nn.Module:
    """Return a residual network of `blocks` blocks a stage; each stage but the first halves."""
    first = widths[0]
    layers = [nn.Conv2d(1, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU()]
    into = first
    for stage, out in enumerate(widths):
        for block in range(blocks):
            layers.append(Block(into, out, 2 if stage and not block else 1))
            into = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(into, 10))


def shifted(x: torch.Tensor) -> torch.Tensor:
    """Return the images N x C x H x W, each moved by up to one pixel along both axes."""
    padded = functional.pad(x, (1, 1, 1, 1))
    rows, columns = torch.randint(3, (2, len(x), 1))
    images = torch.arange(len(x))[:, None, None]
    rows = (rows + torch.arange(x.shape[2]))[:, :, None]
    columns = (columns + torch.arange(x.shape[3]))[:, None, :]
    return padded[images, :, rows, columns].movedim(-1, 1)


def train(module, optimizer, images, labels, epochs: int, augment=lambda x: x) -> None:
    """Train `module` in mode `train`, and leave it in mode `eval`."""
    module.train()
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            functional.cross_entropy(module(augment(x[batch])), y[batch]).backward()
            optimizer.step()
        schedule.step()
    module.eval()


def trained(epochs: int = 30, seed: int = 0, cache: Path | None = None) -> tuple[nn.Module, Digits]:
    """Return the network, trained, in evaluation mode, and the data.

    `cache`: a file to read the weights from, or to write them to where it is not there yet.
    """
    digits = data()
    torch.manual_seed(seed)
    module = network()
    if cache is not None and cache.exists():
        module.load_state_dict(torch.load(cache, weights_only=True))
        return module.eval(), digits
    optimizer = torch.optim.AdamW(module.parameters(), 2e-3, weight_decay=0.05)
    train(module, optimizer, digits.images, digits.labels, epochs, shifted)
    if cache is not None:
        torch.save(module.state_dict(), cache)
    return module, digits


def accuracy(module: nn.Module, images, labels) -> float:
    """Return the share of images that `module` classifies rightly."""
    with torch.no_grad():
        scores = module(torch.from_numpy(images))
    return float(np.mean(scores.argmax(1).numpy() == labels))


def main() -> None:
    """Train the network and print its accuracy on images it has not seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="file that keeps the weights")
    options = parser.parse_args()
    started = time.perf_counter()
    module, digits = trained(options.epochs, options.seed, options.cache)
    seconds = time.perf_counter() - started
    share = accuracy(module, digits.unseen, digits.answers)
    print(f"{share:.2%} of {len(digits.answers)} unseen digits right, after {seconds:.0f} s")


if __name__ == "__main__":
    main()
