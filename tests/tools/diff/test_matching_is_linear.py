"""Matching looks at each node a bounded number of times."""

import planish
from planish.tools.diff.match import match
from planish.tools.diff.wiring import Wiring

from tests.helpers import sum_of_branches


class _Counted(list):
    reads = 0

    def __getitem__(self, place):
        _Counted.reads += 1
        return super().__getitem__(place)


def _reads(count):
    a, b = sum_of_branches(count), planish.clone(sum_of_branches(count))
    for node in b.nodes:
        node.name = ""
    wirings = Wiring(a, a), Wiring(b, b)
    for wiring in wirings:
        wiring.sources = _Counted(wiring.sources)
        wiring.readers = _Counted(wiring.readers)
    _Counted.reads = 0
    matching = match(*wirings)
    assert len(matching.forward) == len(wirings[0])
    return _Counted.reads


def test_twice_the_branches_are_twice_the_work():
    assert _reads(400) < 2.2 * _reads(200)
