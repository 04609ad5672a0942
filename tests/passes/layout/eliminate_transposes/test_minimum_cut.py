"""The cheapest labels are those that trying all of them finds."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from planish.passes.layout.eliminate_transposes.minimum_cut import (
    ONE,
    ZERO,
    CutCost,
    cheapest,
    total,
)

from tests.effort import examples

COUNT = 6
_PAYMENTS = st.lists(
    st.builds(
        CutCost,
        st.integers(0, 9),
        st.lists(st.integers(ZERO, COUNT - 1), min_size=1, max_size=4).map(tuple),
    ),
    max_size=12,
)


@given(_PAYMENTS)
@settings(max_examples=examples(200))
def test_cheapest_of_all_labels(payments):
    subsets = [
        set(chosen)
        for size in range(COUNT + 1)
        for chosen in itertools.combinations(range(COUNT), size)
    ]
    prices = {frozenset(ones): total(payments, ones) for ones in subsets}
    best = min(prices.values())
    smallest, largest = cheapest(COUNT, payments)
    assert prices[frozenset(smallest)] == prices[frozenset(largest)] == best
    for ones, price in prices.items():
        assert price > best or smallest <= ones <= largest


def test_price_is_paid_where_labels_differ():
    payments = [CutCost(3, (ONE, 0)), CutCost(2, (0, 1)), CutCost(7, (1, ZERO))]
    assert [total(payments, ones) for ones in (set(), {0}, {1}, {0, 1})] == [3, 2, 12, 7]
    assert cheapest(2, payments) == ({0}, {0})
