"""What networks make of a size n: its half, its last place, one over it, its root, ...

n = 24:   24, 23, 12, 11.5, 6 | 1/24, 2/24, 1/23, 2/23 | sqrt(24), 1/sqrt(24), ln(24) | 23/24, 24/23
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

Form = Callable[[float], float]

# Of coordinates, bounds and places.
PLACES: dict[str, Form] = {
    "{}": lambda n: n,
    "{} - 1": lambda n: n - 1,
    "half of {}": lambda n: n / 2,
    "half of {}, rounded down": lambda n: n // 2,
    "half of {} - 1": lambda n: (n - 1) / 2,
    "a quarter of {}": lambda n: n / 4,
}
# Of coordinates that go from 0 to 1.
STEPS: dict[str, Form] = {
    "1 / {}": lambda n: 1 / n,
    "2 / {}": lambda n: 2 / n,
    "4 / {}": lambda n: 4 / n,
    "half of 1 / {}": lambda n: 0.5 / n,
    "1 / ({} - 1)": lambda n: 1 / (n - 1),
    "2 / ({} - 1)": lambda n: 2 / (n - 1),
}
# Of products, whose sums grow with the number of elements.
ROOTS: dict[str, Form] = {
    "a root of {}": math.sqrt,
    "one over a root of {}": lambda n: n**-0.5,
    "a fourth root of {}": lambda n: n**0.25,
    "one over a fourth root of {}": lambda n: n**-0.25,
    "a logarithm of {}": math.log,
}
# Of sums.
MEANS: dict[str, Form] = {
    "{}": lambda n: n,
    "{} - 1": lambda n: n - 1,
    "1 / {}": lambda n: 1 / n,
    "1 / ({} - 1)": lambda n: 1 / (n - 1),
    "{0} / ({0} - 1)": lambda n: n / (n - 1),
    "({0} - 1) / {0}": lambda n: (n - 1) / n,
    "a root of {0} / ({0} - 1)": lambda n: math.sqrt(n / (n - 1)),
}


def matching(
    number: float, was: float, now: float, forms: Mapping[str, Form], near: float
) -> str | None:
    """Return which form of `was` a number is, where that of `now` is another; None for none.

    `near`: how far it may be off, relative to it.
    """
    for name, form in forms.items() if was > 1 and now > 0 else ():
        made = form(was)
        if abs(abs(number) - made) <= near * abs(made) and (now <= 1 or form(now) != made):
            return name.format(f"{was:g}")
    return None


def of_several(sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[str, float, float]]:
    """Yield what is made of two sizes of an input: how, what it was and what it is now."""
    for (a, b), (c, d) in combinations(sizes, 2):
        yield f"{a} * {c}", a * c, b * d
        yield f"{a} + {c}", a + c, b + d
        yield f"the diagonal of {a} by {c}", math.hypot(a, c), math.hypot(b, d)
        yield f"{a} / {c}", a / c, b / d
        yield f"{c} / {a}", c / a, d / b
