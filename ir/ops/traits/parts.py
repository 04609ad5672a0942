"""Parts of the table that operators of several families share."""

from __future__ import annotations

from .lines import Known
from .model import Homogeneous, Integers, Monotone

UP: Known = {"monotone": Monotone.INCREASING}
STRICTLY_UP: Known = {"monotone": Monotone.STRICTLY_INCREASING}
SIGN: Known = {"keeps_nonnegative": True, "keeps_nonpositive": True}
NOT_NEGATIVE: Known = {"keeps_nonnegative": True, "low": 0.0}
POSITIVE: Known = {"homogeneous": Homogeneous.POSITIVE}
ANY: Known = {"homogeneous": Homogeneous.ANY}
ZERO: Known = {"zero": True, "nan": True}
ONCE: Known = {"rounds_once": True}
EXACT: Known = {"exact": True, "integers": Integers.EXACT, **ONCE}
WRAP: Known = {"integers": Integers.WRAP}
