"""Reproducers: what is needed to see a failing pass fail again."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..ir.save import save


def write_reproducer(
    folder: Path | None,
    graph: gs.Graph,
    pipeline: str,
    feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]],
) -> Path:
    """Write `before.onnx`, `pipeline.txt` and `feeds.npz` and return their folder.

    `folder` defaults to a new one in the system's place for temporary files. The feeds are joined
    along their first axis where that is possible, else the first one alone is written.
    """
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="planish-reproducer-"))
    folder.mkdir(parents=True, exist_ok=True)
    save(graph, folder / "before.onnx")
    (folder / "pipeline.txt").write_text(pipeline + "\n")
    if feeds:
        np.savez(folder / "feeds.npz", **_joined(feeds))
    return folder


def command(folder: Path) -> str:
    """Return the command that runs the reproducer in `folder`."""
    feeds = f" --feeds {folder / 'feeds.npz'}" if (folder / "feeds.npz").exists() else ""
    return (
        f"planish optimize {folder / 'before.onnx'} -o {folder / 'after.onnx'} "
        f"-p '{(folder / 'pipeline.txt').read_text().strip()}'{feeds} --verify each"
    )


def _joined(
    feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]],
) -> dict[str, np.ndarray[Any, Any]]:
    if all(array.ndim for feed in feeds for array in feed.values()):
        return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
    return dict(feeds[0])
