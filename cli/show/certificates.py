"""What a certificate says, as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.table import Table

from .plain import plain_table

if TYPE_CHECKING:
    from ...ir.proof.certificate import Certificate


def certificate_table(certificate: Certificate) -> Table:
    """Return the table of passes: how many edits, and what is proved of them."""
    table = plain_table("pass", ">edits", "proved")
    found = Counter((edit.pass_name, certificate.words(edit)) for edit in certificate.edits)
    for (name, words), count in found.items():
        table.add_row(name, str(count), words)
    return table


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
    }
