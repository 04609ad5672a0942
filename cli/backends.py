"""`planish backends`: what lowers a graph, and for which targets here."""

from __future__ import annotations

from ..backends.contract.registry import all_backends
from .show.console import out
from .show.plain import listing_table


def backends() -> None:
    """List the backends and the targets this machine has for them."""
    rows = [
        (name, ", ".join(item().targets()) or "none", item.summary)
        for name, item in all_backends().items()
    ]
    out.print(listing_table(rows, "backend", "targets here", "what it is"))
