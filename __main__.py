"""`python -m planish` is the command `planish`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command, supervised; Ctrl-C ends it alike while its modules are being imported."""
    try:
        from .cli.supervise import supervised

        supervised(_run)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; no half-written file is left\n")
        sys.exit(130)


def _run() -> None:
    from .cli.main import main as run

    run()


if __name__ == "__main__":
    main()
