"""planish: a compiler-style graph transformation toolkit for convolutional networks.

Public names, which `_public` lists, are imported when they are first used, so that a process which
only runs what was compiled before does not wait for the packages that read and change models.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from .passes.engine.stopwatch import register_later
from .passes.engine.targets import register_target_check

if TYPE_CHECKING:
    from ._public import *  # noqa: F403

__version__ = "0.2.0"

_PACKAGES = frozenset({"backends", "integrations", "ir", "passes", "tools"})


@functools.cache
def _modules() -> dict[str, str]:
    """Return the module of each public name, read from the list without importing any."""
    import ast
    import pkgutil

    lines = ast.parse(pkgutil.get_data(__name__, "_public.py") or b"").body
    imports = (line for line in lines if isinstance(line, ast.ImportFrom) and line.level)
    return {each.name: f".{line.module}" for line in imports for each in line.names}


def __dir__() -> list[str]:
    return sorted({*globals(), *_modules(), *_PACKAGES, "__all__"})


if not TYPE_CHECKING:  # type checkers know every name, and should miss the others

    def __getattr__(name: str) -> Any:
        if name == "__all__":
            return sorted(_modules())
        if name in _PACKAGES:
            return importlib.import_module(f".{name}", __name__)
        if name not in _modules():
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        try:
            found = getattr(importlib.import_module(_modules()[name], __name__), name)
        except ModuleNotFoundError as error:  # as in a process that only runs artifacts
            from .ir.core.extras import missing_package

            missing = missing_package(error)
            if missing is None:
                raise
            raise ModuleNotFoundError(f"planish.{name}: {missing}", name=error.name) from error
        globals()[name] = found
        return found


# Passes stand below backends: what measures latency is imported where it is first asked for.
register_later(lambda: importlib.import_module(".backends.onnxruntime.stopwatch", __name__))


def _require_target(target: str) -> None:
    importlib.import_module(".backends.contract.registry", __name__).require_target(target)


# And what targets there are.
register_target_check(_require_target)
