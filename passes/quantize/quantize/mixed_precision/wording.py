"""What messages call the narrow numbers that layers are put on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """`noun`: the numbers; `placed`: a layer that computes in them; `plain`: one that does not.

    `before`: the graph that errors are beside.
    """

    noun: str = "integers"
    placed: str = "on integers"
    plain: str = "float"
    before: str = "the float graph before integers"


INTEGERS = Wording()
