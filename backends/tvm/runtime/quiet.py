"""What TVM says where nobody can do anything about it."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

# It warns of every device of a virtual machine that it is saved or loaded, of every library after
# the first that its symbols are there already, and of pools with more threads than cores.
_USUAL = (
    b"Warning: Scope ",
    b"Warning:SystemLib symbol __tvm_ffi__library_bin ",
    b"Warning: The thread affinity cannot be set ",
)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Leave such lines out of standard error meanwhile; the others come at the end."""
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (AttributeError, OSError, ValueError):  # there is none, or it is closed
        yield
        return
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            kept.seek(0)
            rest = b"".join(line for line in kept if not any(words in line for words in _USUAL))
            with contextlib.suppress(OSError):
                os.write(2, rest)
