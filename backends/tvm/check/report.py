"""What a person is told of kernels that were found wrong, and is given to see it again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ....ir.core.errors import BackendError
from ..program.lowering import Lowered
from .check import WrongKernel, calls_of


class WrongKernelWarning(UserWarning):
    """A kernel that its check found wrong; ONNX Runtime runs the nodes instead."""


def nodes_of(lowered: Lowered, wrong: Iterable[WrongKernel]) -> frozenset[str]:
    """Return the names of the nodes that kernels were called for; raises BackendError.

    That is where a kernel serves no node, but moves a tensor between two.
    """
    found: set[str] = set()
    for one in wrong:
        named = {node for call in calls_of(lowered, one) for node in call.nodes}
        if not named:
            raise BackendError(f"backend 'tvm' cannot run this network: {told(lowered, one)}")
        found |= named
    return frozenset(found)


def told(lowered: Lowered, wrong: WrongKernel) -> str:
    """Say which kernel is wrong, of which nodes, and where its reproducer was written."""
    kernel = wrong.kernel
    nodes = list(dict.fromkeys(node for c in calls_of(lowered, wrong) for node in c.nodes))
    of = "between nodes" if not nodes else "of " + ", ".join(f"'{node}'" for node in nodes)
    return (
        f"kernel '{kernel.name}' ({type(kernel.op).__name__}) {of} is wrong: {wrong.fault}; key "
        f"{kernel.key.digest[:16]}; its loops, operands and results are in "
        f"'{write_kernel(wrong)}'; please report them"
    )


def write_kernel(wrong: WrongKernel) -> Path:
    """Write what shows that a kernel is wrong, and return the folder.

    `operator.txt` is its description, `kernel.txt` its loops, `key.json` what the check holds for,
    `operands.npz` what it was given, in order, and what it should have written.
    """
    folder = Path(tempfile.mkdtemp(prefix="planish-kernel-"))
    kernel = wrong.kernel
    (folder / "operator.txt").write_text(f"{kernel.op!r}\n", encoding="utf-8")
    (folder / "kernel.txt").write_text(f"{kernel.function}\n", encoding="utf-8")
    key = {"digest": kernel.key.digest, "target": kernel.key.target}
    (folder / "key.json").write_text(json.dumps(key) + "\n", encoding="utf-8")
    if wrong.trial is not None:
        given = {f"arg{i}": _plain(values) for i, values in enumerate(wrong.trial.args)}
        np.savez(folder / "operands.npz", **given, expected=wrong.trial.expected)
    return folder


def _plain(values: Any) -> Any:
    """Return what numpy stores: bfloat16 as float32."""
    values = np.asarray(values)
    return values.astype(np.float32) if values.dtype.kind == "V" else values
