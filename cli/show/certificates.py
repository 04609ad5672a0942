"""What a certificate says, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from .plain import plain_table

if TYPE_CHECKING:
    from ...ir.proof.certificate import Certificate
    from ...ir.proof.claims import EditClaim
    from ...ir.proof.rounding_bound import RoundingBound


def certificate_table(certificate: Certificate) -> Table:
    """Return the table of passes: how many edits, and what is proved of them."""
    table = plain_table("pass", ">edits", "proved", "rounding, of the largest result")
    for (name, words), edits in _grouped(certificate).items():
        table.add_row(name, str(len(edits)), words, _rounding(_weakest(certificate, edits)))
    return table


def _grouped(certificate: Certificate) -> dict[tuple[str, str], list[EditClaim]]:
    """Return the edits by pass, and by what is proved of them."""
    found: dict[tuple[str, str], list[EditClaim]] = {}
    for edit in certificate.edits:
        found.setdefault((edit.pass_name, certificate.words(edit)), []).append(edit)
    return found


def _weakest(certificate: Certificate, edits: Sequence[EditClaim]) -> RoundingBound:
    bounds = map(certificate.bound, edits)
    return max(bounds, key=lambda each: (bool(each.none), each.relative))


def _rounding(bound: RoundingBound) -> str:
    if bound.none:
        return "no bound"
    if not bound.type:
        return "0"
    flags = [
        word
        for word, holds in (("may overflow", bound.overflows), ("underflows", bound.underflows))
        if holds
    ]
    return ", ".join([f"up to {bound.relative:.1g} ({bound.type})", *flags])


def open_lines(certificate: Certificate) -> Iterator[str]:
    """Yield a line for each output that was not shown to be equal."""
    for each in certificate.open_outputs:
        yield f"output '{each.name}' is not proved: {each.reason}"


def certificate_json(certificate: Certificate) -> dict[str, Any]:
    """Return what is proved as JSON has it."""
    return {
        "proved": certificate.proved,
        "tried": certificate.tried,
        "edits": len(certificate.edits),
        "verdict": certificate.verdict(),
        "open_outputs": [each.name for each in certificate.open_outputs],
        "rounding": [
            {
                "pass": name,
                "claim": words,
                "edits": len(edits),
                **asdict(_weakest(certificate, edits)),
            }
            for (name, words), edits in _grouped(certificate).items()
        ],
    }
