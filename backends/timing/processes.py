"""Modules that are run in a process of their own."""

from __future__ import annotations

import sys

# Modules are found where this process finds them, whatever changed its path.
_START = (
    "import runpy, sys; name, given, *sys.path[:] = sys.argv[1:]; sys.argv[1:] = [given]; "
    "runpy.run_module(name, run_name='__main__')"
)


def command_of(module: str, argument: str) -> list[str]:
    """Return the command that runs `module` with one argument."""
    return [sys.executable, "-c", _START, module, argument, *sys.path]
