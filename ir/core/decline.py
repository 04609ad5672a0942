"""The one door through which a site is left alone, with its reason."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from .errors import PlanishError

T = TypeVar("T")


class DeclinedError(PlanishError):
    """Raised by `need`: this site must be left alone, for the reason given."""


def need(condition: T | None, reason: str) -> T:
    """Return `condition` if it holds; otherwise decline the site with `reason`.

    None and False (numpy's too) do not hold; any other value does and is returned, so that one line
    both checks and narrows: `weight = need(view.constant(node.inputs[1]), "it is not constant")`.
    """
    if condition is None or (isinstance(condition, bool | np.bool_) and not condition):
        raise DeclinedError(reason)
    return condition
