"""Names of modules and parameters, from the names that tensors and nodes have in a graph."""

from __future__ import annotations

import re

_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+)*\.[A-Za-z_]\w*|[A-Za-z_]\w*", re.ASCII)
# What exporters call values of their own making.
_MADE_UP = re.compile(
    r"(.*[/:].*|onnx_.*|val_\d+|_?c?_?lifted_tensor_\d+|const(ant)?(_.*)?|scalar_.*|.*_cast(_\d+)?)",
    re.ASCII | re.IGNORECASE,
)
# What passes append to the names of weights that they rewrite, and quantizers to those they store.
_REWRITTEN = re.compile(r"(_(folded|permuted|quantized|bias|weight|int8|uint8|q)|_\d+)+$")


def is_path(name: str) -> bool:
    """Say whether `name` is a parameter's place in a module: `layer1.0.conv1.weight`, `scale`."""
    return _PATH.fullmatch(name) is not None and _MADE_UP.fullmatch(name) is None


def is_nested_path(name: str) -> bool:
    """Say whether `name` is a parameter's place inside a submodule."""
    return "." in name and is_path(name)


def split(path: str) -> tuple[str, str]:
    """Return the module's path and the parameter's name in it."""
    owner, _, leaf = path.rpartition(".")
    return owner, leaf


def owner_of(name: str, leaf: str) -> str | None:
    """Return the module whose parameter `leaf` the tensor `name` holds, or None.

    `conv1.weight`, and what passes made of it: `conv1.weight_folded`, `conv1.weight_quantized`.
    """
    if not is_nested_path(name):
        return None
    owner, found = split(name)
    return owner if found == leaf or _REWRITTEN.sub("", found) == leaf else None


def unquantized(name: str) -> str:
    """Return what a tensor was called before it was stored as integers."""
    return re.sub(r"_(quantized|int8|uint8|q)$", "", name)


def identifier(name: str, fallback: str) -> str:
    """Return `name` as a Python identifier without leading or doubled underscores."""
    cleaned = re.sub(r"_+", "_", re.sub(r"\W", "_", name, flags=re.ASCII)).strip("_")
    if not cleaned:
        cleaned = fallback
    return f"_{cleaned}" if cleaned[0].isdigit() else cleaned
