"""`python -m planish` is the command `planish`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; Ctrl-C ends it alike while its modules are still being imported."""
    try:
        from .cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; no half-written file is left\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
