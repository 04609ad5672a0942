"""`python -m planish` is the command `planish`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command, supervised; Ctrl-C ends it alike while its modules are being imported."""
    _open_standard_streams()
    try:
        from .cli.supervise import supervised

        supervised(_run)
    except (KeyboardInterrupt, ImportError) as error:
        from .ir.core.interrupts import was_interrupted

        if not was_interrupted(error):
            raise
        sys.stderr.write("interrupted; no half-written file is left\n")
        sys.exit(130)


def _open_standard_streams() -> None:
    """Have what is shown go nowhere where a stream is closed, and not into the next file opened."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def _run() -> None:
    from .cli.main import main as run

    run()


if __name__ == "__main__":
    main()
