"""How much of a property test `make test` has: the first third of the examples of `make test-slow`.

The examples are drawn alike in both, so that what passes at length passes in short. A test that
draws while it runs (`st.data()`) has all of them in both.
"""

import functools
import os
from typing import Any

from hypothesis.errors import StopTest, UnsatisfiedAssumption
from hypothesis.strategies import DataObject

LONG = "PLANISH_TESTS_LONG"  # the variable that says that slow tests run too; conftest.py sets it
FEWEST = 10


def limited(test: Any) -> Any:
    """Return a property `test`, whose next run looks at a third of its examples, ten at least."""
    whole = getattr(test.hypothesis.inner_test, "whole", test.hypothesis.inner_test)
    test.hypothesis.inner_test = whole
    most = test._hypothesis_internal_use_settings.max_examples  # where `settings(...)` puts it
    if not os.environ.get(LONG) and most > FEWEST:
        test.hypothesis.inner_test = _first(whole, max(FEWEST, most // 3))
    return test


def _first(whole: Any, most: int) -> Any:
    passed, failed = 0, False

    @functools.wraps(whole)  # what is drawn depends on the source of the test
    def part(*args: Any, **kwargs: Any) -> None:
        nonlocal passed, failed
        draws = any(isinstance(value, DataObject) for value in (*args, *kwargs.values()))
        if passed >= most and not failed and not draws:  # drawing less than before is an error
            return
        try:
            whole(*args, **kwargs)
        except (StopTest, UnsatisfiedAssumption):
            raise
        except BaseException:
            failed = True  # what it is made smaller to is looked at
            raise
        passed += 1

    part.whole = whole
    return part
