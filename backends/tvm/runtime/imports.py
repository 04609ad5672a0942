"""What is imported to run a network, and what is not."""

from __future__ import annotations

import contextlib
import importlib.abc
import sys
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def without_torch() -> Iterator[None]:
    """Let what is imported here by this thread find no torch, unless it is there already.

    TVM imports it where it is installed, which takes seconds, only to exchange tensors with it.
    """
    thread = threading.get_ident()

    class Absent(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "torch" and threading.get_ident() == thread:
                raise ModuleNotFoundError("torch is not needed to run a network", name=name)

    absent = Absent()
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)
