"""What a person is told of kernels that were found wrong, and is given to see it again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ....ir.core.errors import BackendError
from ..program.lowering import Lowered
from ..tuning.cache import Key
from .check import WrongKernel, calls_of
from .nodes import WrongNode


class WrongKernelWarning(UserWarning):
    """A kernel that its check found wrong; ONNX Runtime runs the nodes instead."""


Wrong = WrongKernel | WrongNode


def nodes_of(lowered: Lowered, wrong: Iterable[Wrong]) -> frozenset[str]:
    """Return the names of the nodes that kernels were called for; raises BackendError.

    That is where a kernel serves no node, but moves a tensor between two.
    """
    found: set[str] = set()
    for one in wrong:
        if isinstance(one, WrongNode):
            found |= {*one.nodes}
            continue
        named = {node for call in calls_of(lowered, one) for node in call.nodes}
        if not named:
            raise BackendError(f"backend 'tvm' cannot run this network: {told(lowered, one)}")
        found |= named
    return frozenset(found)


def told(lowered: Lowered, wrong: Wrong) -> str:
    """Say which kernel is wrong, of which nodes, and where its reproducer was written."""
    if isinstance(wrong, WrongNode):
        return _told_node(wrong)
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
    _write_key(folder, kernel.key)
    if wrong.trial is not None:
        given = {f"arg{i}": _plain(values) for i, values in enumerate(wrong.trial.args)}
        np.savez(folder / "operands.npz", **given, expected=wrong.trial.expected)
    return folder


def _told_node(wrong: WrongNode) -> str:
    of = ", ".join(f"'{node}'" for node in wrong.nodes)
    return (
        f"TVM's {wrong.op} of {of} is wrong: {wrong.fault}; key {wrong.key.digest[:16]}; its model "
        f"and inputs are in '{_write_node(wrong)}'; please report them"
    )


def _write_node(wrong: WrongNode) -> Path:
    """Write what shows that TVM has a node wrong, and return the folder.

    `model.onnx` is the node alone, `feeds.npz` what it was given, `key.json` what the check holds
    for.
    """
    folder = Path(tempfile.mkdtemp(prefix="planish-kernel-"))
    onnx.save(wrong.model, folder / "model.onnx")
    _write_key(folder, wrong.key)
    np.savez(folder / "feeds.npz", **{name: _plain(v) for name, v in wrong.feeds.items()})
    return folder


def _write_key(folder: Path, key: Key) -> None:
    text = json.dumps({"digest": key.digest, "target": key.target})
    (folder / "key.json").write_text(f"{text}\n", encoding="utf-8")


def _plain(values: Any) -> Any:
    """Return what numpy stores: bfloat16 as float32."""
    values = np.asarray(values)
    return values.astype(np.float32) if values.dtype.kind == "V" else values
