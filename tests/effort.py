"""How many examples a property test looks at: all in `make test-slow`, a fifth in `make test`."""

import os

LONG = "PLANISH_TESTS_LONG"  # the variable that says that slow tests run too; conftest.py sets it
_FEWEST = 10


def examples(most: int) -> int:
    """Return `most`, or in `make test` a fifth of it, ten at least where there are as many."""
    return most if os.environ.get(LONG) else max(min(most, _FEWEST), most // 5)
