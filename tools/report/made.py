"""How a report was made: so that somebody else can make it again."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from ...ir.core.cpu import cpu_name
from ...ir.core.extras import installed_version

_PACKAGES = (
    "numpy",
    "onnx",
    "onnx-graphsurgeon",
    "onnxruntime",
    "apache-tvm",
    "openvino",
    "ncnn",
    "torch",
)


def made_by(version: str, command: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the versions, the machine and the command; `version` is planish's own.

    `command`: its words, those of this process by default.
    """
    words = ["planish", *sys.argv[1:]] if command is None else command
    versions = {"planish": version, "python": sys.version.split()[0]}
    versions |= {name: found for name in _PACKAGES if (found := installed_version(name))}
    return {
        "command": shlex.join(words),
        "versions": versions,
        "machine": f"{cpu_name()}, {os.cpu_count()} cores",
    }
