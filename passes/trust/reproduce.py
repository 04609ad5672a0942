"""Reproducers: what is needed to see a failing pass fail again."""

from __future__ import annotations

import shlex
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.files.save import save


def write_reproducer(
    folder: Path | None,
    graph: gs.Graph,
    pipeline: str,
    feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]],
    trace: str = "",
    scripts: Sequence[Path] = (),
) -> Path:
    """Write `before.onnx`, `pipeline.txt`, `feeds.npz` and `trace`; return their folder.

    `scripts`: files that register passes, which are copied into it.
    `folder` defaults to a new one in the system's place for temporary files. The feeds are joined
    along their first axis where that is possible, else the first one alone is written.
    """
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="planish-reproducer-"))
    folder.mkdir(parents=True, exist_ok=True)
    save(graph, folder / "before.onnx")
    (folder / "pipeline.txt").write_text(pipeline + "\n", encoding="utf-8")
    if trace:
        (folder / "error.txt").write_text(trace, encoding="utf-8")
    for script in scripts:
        if script.resolve().parent != folder.resolve():  # of a reproducer that is run again
            shutil.copy(script, folder)
    (folder / "feeds.npz").unlink(missing_ok=True)
    if feeds:
        _write_arrays(folder / "feeds.npz", _joined(feeds))
    return folder


def command(folder: Path, scripts: Sequence[Path] | None = ()) -> str:
    """Return the command that runs the reproducer in `folder`.

    `scripts`: files that register its passes; None where no file does, so that it runs only where
    they were registered.
    """
    pipeline = (folder / "pipeline.txt").read_text(encoding="utf-8").strip()
    feeds = folder / "feeds.npz"
    if scripts is None:
        return _in_python(folder / "before.onnx", pipeline, feeds if feeds.exists() else None)
    words = ["planish", "optimize", str(folder / "before.onnx"), "-o", str(folder / "after.onnx")]
    words += ["-p", pipeline]
    if feeds.exists():
        words += ["--feeds", str(feeds)]
    for script in scripts:
        words += ["--plugin", str(script)]
    return shlex.join([*words, "--verify", "each", "--strict"])


def _in_python(model: Path, pipeline: str, feeds: Path | None) -> str:
    given = "" if feeds is None else f"planish.load_feeds({str(feeds)!r}, graph), "
    return (
        f"graph = planish.load({str(model)!r}); planish.Pipeline.parse({pipeline!r}).run("
        f"graph, {given}verify='each', strict=True)"
    )


def _joined(
    feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]],
) -> dict[str, np.ndarray[Any, Any]]:
    shapes = [{name: array.shape[1:] for name, array in feed.items()} for feed in feeds]
    ranked = all(array.ndim for feed in feeds for array in feed.values())
    if ranked and all(shape == shapes[0] for shape in shapes):
        return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
    return dict(feeds[0])


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write an `.npz`; unlike `numpy.savez`, for any input name, and text without pickling."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                stored = array.astype(str) if array.dtype.kind == "O" else array
                np.lib.format.write_array(file, np.asanyarray(stored), allow_pickle=False)
