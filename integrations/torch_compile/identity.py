"""What a graph of Dynamo's is: a digest of all that decides what it is compiled to.

Operators, arguments and the values of weights; types and sizes of inputs; the pipeline, samples and
runtime; planish's own source, and the versions of what it stands on; the machine. A graph with
something else in it, such as a function of a user's, has no digest: nobody can say whether that is
still the same.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...backends.contract.registry import all_backends, is_builtin
from ...ir.core.cpu import core_numbers, cpu_flags, cpu_name
from ...ir.run.feeds import Feed
from ...passes.pipeline.attempt import members
from ...passes.pipeline.builtin import BUILTIN
from ...passes.pipeline.pipeline import Pipeline
from .arrays import to_array

_ROOT = Path(__file__).parents[2]
# Whose functions are told apart by name and version.
_KNOWN = ("torch", "_operator", "operator", "math", "builtins")
_LIBRARIES = ("torch.ops.aten", "torch.ops.prims")
_SYMBOL = re.compile(r"\b[a-z]+\d+\b")  # of open sizes: s0, u1
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_OF_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)


class UnknownContentError(Exception):
    """A graph has something that has no digest."""


def digest_of_graph(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> bytes:
    """Return a digest of `module` and of what it is called with. Raises UnknownContentError.

    Of tensors that are given with each call only type and sizes count; weights are `weights_in`.
    """
    digest = hashlib.sha256()
    names: dict[torch.fx.Node, int] = {}
    symbols: dict[str, int] = {}
    for node, value in zip(_placeholders(module), inputs, strict=True):
        shape = getattr(node.meta.get("example_value"), "shape", ())
        declared = _SYMBOL.sub(
            lambda found: str(symbols.setdefault(found[0], len(symbols))), str(shape)
        )
        if isinstance(value, torch.Tensor):
            told = (str(value.dtype), tuple(value.shape), declared)
        else:
            told = ("number", value, "")
        digest.update(repr(told).encode())
    for i, node in enumerate(module.graph.nodes):
        names[node] = i
        if node.op != "placeholder":
            told_node = (node.op, _target(module, node), _told(node.args, names))
            digest.update(repr((*told_node, _told(node.kwargs, names))).encode())
    return digest.digest()


def digest_of_tensors(tensors: Iterable[torch.Tensor]) -> bytes:
    """Return a digest of types, shapes and values."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(_told_array(to_array(tensor)))
    return digest.digest()


def digest_of_feeds(feeds: Iterable[Feed] | None) -> bytes:
    """Return a digest of samples; of none it is that of nothing."""
    digest = hashlib.sha256()
    for feed in feeds or ():
        for name, array in feed.items():
            digest.update(repr(name).encode())
            digest.update(_told_array(np.ascontiguousarray(array)))
    return digest.digest()


def told_of_lowering(pipeline: str, runtime: str, options: Mapping[str, Any]) -> str:
    """Return the canonical text of a pipeline, a backend and its options.

    Raises UnknownContentError where a pass or a backend is somebody else's, or an option names a
    file, which may change.
    """
    steps = Pipeline.parse(pipeline)
    for item in steps.passes:
        for step in members(item):
            if step.name not in BUILTIN:
                raise UnknownContentError(f"the pass '{step.name}' is not planish's own")
            _refuse_files(vars(step).values())
    _refuse_files(options.values())
    for name in all_backends():
        if not is_builtin(name):
            raise UnknownContentError(f"the backend '{name}' is not planish's own")
    return repr((str(steps), runtime, _told(dict(options), {})))


@functools.cache
def surroundings() -> str:
    """Return what else decides: versions of all packages, planish's source, the machine."""
    source = hashlib.sha256()
    for path in sorted(_ROOT.rglob("*.py")):
        source.update(str(path.relative_to(_ROOT)).encode())
        source.update(path.read_bytes())
    packages = sorted(
        (each.metadata["Name"] or "", each.version) for each in importlib.metadata.distributions()
    )
    machine = (platform.platform(), cpu_name(), sorted(cpu_flags()), len(core_numbers()))
    return repr((source.hexdigest(), platform.python_version(), packages, machine))


def state_of_torch() -> str:
    """Return what changes the meaning of a graph without being in it."""
    autocast = torch.is_autocast_enabled("cpu"), str(torch.get_autocast_dtype("cpu"))
    return repr((str(torch.get_default_dtype()), autocast))


def joined(*parts: str | bytes) -> str:
    """Return one digest of all `parts`, in letters."""
    held = [part if isinstance(part, bytes) else part.encode() for part in parts]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in held)).hexdigest()


def _refuse_files(values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, Path) or (isinstance(value, str) and os.path.exists(value)):
            raise UnknownContentError(f"an option names '{value}'")


def _placeholders(module: torch.fx.GraphModule) -> list[torch.fx.Node]:
    return [node for node in module.graph.nodes if node.op == "placeholder"]


def _target(module: torch.fx.GraphModule, node: torch.fx.Node) -> str:
    if node.op in ("call_method", "output"):
        return str(node.target)
    if node.op == "get_attr":
        owner, _, leaf = str(node.target).rpartition(".")
        value = getattr(module.get_submodule(owner), leaf)
        if not isinstance(value, torch.Tensor):
            raise UnknownContentError(f"a constant is {type(value).__name__}")
        return digest_of_tensors([value]).hex()
    if node.op != "call_function":
        raise UnknownContentError(f"it calls the module '{node.target}'")
    try:
        name = str(torch.fx.node._get_qualified_name(node.target))
    except (RuntimeError, AttributeError) as error:
        raise UnknownContentError(f"it calls {node.target}") from error
    if isinstance(node.target, torch._ops.OpOverload):
        name = f"torch.ops.{node.target}"
    of_a_library = name.startswith("torch.ops.")
    if name.partition(".")[0] not in _KNOWN or (of_a_library and not name.startswith(_LIBRARIES)):
        raise UnknownContentError(f"it calls {name}")
    return name


def _told(value: Any, names: Mapping[torch.fx.Node, int]) -> Any:
    """Return `value` as nested tuples of plain values, of which `repr` says all."""
    if isinstance(value, torch.fx.Node):
        return ("node", names[value])
    if type(value) in _PLAIN:
        return (type(value).__name__, value)
    if isinstance(value, _OF_TORCH):
        return ("torch", str(value))
    if isinstance(value, slice):
        return ("slice", _told((value.start, value.stop, value.step), names))
    if isinstance(value, Mapping):
        return ("dict", tuple((str(key), _told(each, names)) for key, each in value.items()))
    if isinstance(value, tuple | list):
        return (type(value).__name__, tuple(_told(each, names) for each in value))
    raise UnknownContentError(f"an argument is {type(value).__name__}")


def _told_array(array: np.ndarray[Any, Any]) -> bytes:
    held = np.ascontiguousarray(array)
    inner = hashlib.sha256(held.reshape(-1).view(np.uint8).data)
    return repr((held.dtype.name, array.shape, inner.hexdigest())).encode()
