"""Which kernels are known to be right: what a result holds for, and where it is kept.

A result holds for the loop nest itself, what it is to mean, the instruction set, the version of
TVM, and the sources of kernels and of what they are compared with, which stand for planish's
version. That of a single node holds for its model, and for the sources of what emits and compiles
it. It lies in a file beside that of what tuning measured. Only what is right is kept: what is wrong
is looked at again each time.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import onnx

from ..compile.toolchain import Toolchain
from ..spec.machine import CpuMachine
from ..spec.sources import sources
from ..tuning.cache import Cache, Entry, Key
from ..tuning.key import SCHEDULES

# What a kernel was found to be; BLIND is right, and one number whatever it is given.
RIGHT, BLIND = "right", "blind"

_CHOICE, _NODE = "check", "check of a node"
# What kernels are made by, and what they are compared with.
_CHECKED = (*SCHEDULES, "check/**/*.py")
# What decides, besides kernels, what code a node becomes.
_IMPORTING = tuple(
    f"{folder}/**/*.py"
    for folder in ("program", "compile", "cuda/compile", "cuda/kernels", "cuda/program")
)


def key_of_check(op: Any, kernel: Any, machine: CpuMachine) -> Key:
    """Return what a check of `kernel`, a TIR function made for `op`, holds for on `machine`."""
    import tvm
    import tvm_ffi

    nest = tvm_ffi.structural_hash(kernel.without_attr("global_symbol"))
    target = {"isa": machine.isa, "mcpu": machine.mcpu, "mattr": machine.mattr}
    parts = [_CHOICE, repr(op), nest, target, tvm.__version__, sources(*_CHECKED)]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return Key(digest, _CHOICE, repr(op), json.dumps(target, sort_keys=True))


def key_of_node(model: onnx.ModelProto, toolchain: Toolchain) -> Key:
    """Return what a check of the one node of `model` holds for, compiled by `toolchain`."""
    import onnxruntime
    import tvm

    (node,) = model.graph.node
    target = toolchain.described()
    text = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    versions = tvm.__version__, onnxruntime.__version__, sources(*_CHECKED, *_IMPORTING)
    parts = [_NODE, text, target, *versions]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return Key(digest, _NODE, node.op_type, json.dumps(target, sort_keys=True))


def found_before(cache: Cache, key: Key) -> str:
    """Return RIGHT or BLIND where this or another process found the kernel of `key` so, else ""."""
    found = cache.get(key)
    return str(found.candidate) if found is not None and found.candidate in (RIGHT, BLIND) else ""


def keep(cache: Cache, key: Key, found: str, seconds: float) -> None:
    """Keep that the kernel of `key` was `found` so, in so many seconds."""
    cache.put(key, Entry(found, seconds, 1))
