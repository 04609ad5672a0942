"""Whether the two sides of a window compute the same, for all inputs and all sizes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .axes.covering import covering
from .axes.locality import WindowAxes
from .axes.open_sizes import Look
from .evaluation import BeforeFailsError, BothSides, UnknownSizesError
from .one_look import WindowFacts, shown_at
from .proof import CLAIMS, NotProvedError, Proof
from .sides import PairedSizes
from .values import PointValues, UnsupportedError
from .window_types import window_types
from .windows import ProofWindow, reads_shape


def prove_at(
    window: ProofWindow,
    sizes: PairedSizes,
    opsets: tuple[int, int],
    seed: Sequence[int],
    *,
    leeway: float = 1.0,
) -> Proof:
    """Show that both sides of `window` are equal, of all sizes that are open where that can be.

    `leeway`: times which roundings may be as large as a checker lets them be: under 1 for what has
    to hold at other points as well. Raises NotProvedError where that fails.
    """
    base, facts = sizes.base, WindowFacts.of(window, opsets)
    nodes = (*window.before, *window.after)
    # What neither an input nor a size enters is what it is.
    constant = not window.inputs and not any(map(reads_shape, nodes))
    if not sizes.opened or constant:
        axes = WindowAxes(window, base, base, opsets)
        given = [Look(axes.smaller(), None, base)]
        found = _weakest(_proofs(window, facts, opsets, seed, leeway, given))
        return replace(found, sizes="all") if sizes.opened else found
    base, opened = window_types(window, base, sizes.named, opsets, seed)
    covered = covering(window, base, opened, opsets)
    if covered is not None:
        with contextlib.suppress(UnknownSizesError):
            proofs = _proofs(window, facts, opsets, seed, leeway, covered.needed)
            proofs += _proofs(
                window, facts, opsets, (*seed, 1), leeway, covered.beside, needed=False
            )
            return replace(_weakest(proofs), sizes="all" if covered.is_whole else "tried")
    looks = []
    for types in sizes.choices():
        axes = WindowAxes(window, types, sizes.named, opsets)
        looks.append(Look(axes.smaller(), None, types))
    try:
        proofs = _proofs(window, facts, opsets, seed, leeway, looks[:1])
        proofs += _proofs(window, facts, opsets, (*seed, 1), leeway, looks[1:], needed=False)
    except UnknownSizesError as reason:
        raise NotProvedError(f"not evaluated: {reason}") from reason
    return replace(_weakest(proofs), sizes="tried")


def _weakest(proofs: Sequence[Proof]) -> Proof:
    if not proofs:
        raise NotProvedError("of the sizes that were tried, it can have none")
    found = max(proofs, key=lambda proof: (CLAIMS.index(proof.claim), proof.difference))
    return replace(found, looks=len(proofs), look=proofs[0].look)


def _proofs(
    window: ProofWindow,
    facts: WindowFacts,
    opsets: tuple[int, int],
    seed: Sequence[int],
    leeway: float,
    looks: Iterable[Look],
    *,
    needed: bool = True,
) -> list[Proof]:
    """Return what is shown at each of `looks`; without those that the window before cannot have,
    unless they are needed.
    """
    found = []
    held: dict[tuple[int, bool], PointValues] = {}
    for at, look in enumerate(looks):
        each = BothSides(window=window, look=look, opsets=opsets, seed=(*seed, at), held=held)
        try:
            shown = shown_at(each, facts, leeway, at_scales=needed and at == 0)
            found.append(replace(shown, look=look))
        except UnknownSizesError as reason:
            if look.sizes is not None:
                raise
            raise NotProvedError(f"not evaluated: {reason}") from reason
        except UnsupportedError as reason:
            if needed or not isinstance(reason, BeforeFailsError):
                raise NotProvedError(f"not evaluated: {reason}") from reason
    return found
