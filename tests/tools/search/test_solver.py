"""The integer programme against every choice there is."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.tools.search.solver import COSTS, ChoiceProblem, Term

from tests.effort import examples


@st.composite
def problems(draw):
    """Draw a problem of a few variables, with terms over one to three of them, and its bounds."""
    sizes = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=5)))
    generator = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    terms = []
    for _ in range(draw(st.integers(1, 6))):
        count = draw(st.integers(1, min(3, len(sizes))))
        variables = tuple(draw(st.permutations(range(len(sizes))))[:count])
        shape = (len(COSTS), *(sizes[v] for v in variables))
        terms.append(Term(variables, generator.integers(0, 20, shape).astype(np.float64)))
    problem = ChoiceProblem(sizes, tuple(terms))
    bounds = {
        name: float(draw(st.integers(0, 60)))
        for name in draw(st.sets(st.sampled_from(("seconds", "bytes"))))
    }
    return problem, bounds


def summed(problem, choice, name):
    """Return one cost of a choice, term by term."""
    place = COSTS.index(name)
    return sum(t.costs[(place, *(choice[v] for v in t.variables))] for t in problem.terms)


@given(problems(), st.sampled_from(("error", "seconds")))
@settings(max_examples=examples(200), deadline=None)
def test_the_best_choice_within_bounds(drawn, least):
    problem, bounds = drawn
    every = itertools.product(*map(range, problem.sizes))
    fits = [c for c in every if all(summed(problem, c, n) <= b for n, b in bounds.items())]
    found = problem.solve(bounds, least=least)
    if not fits:
        assert found is None
        return
    assert found is not None
    best = min(summed(problem, c, least) for c in fits)
    assert all(summed(problem, found, n) <= b for n, b in bounds.items())
    assert summed(problem, found, least) == best
    assert problem.costs(found)[least] == best
