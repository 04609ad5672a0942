"""Plain tables of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ...ir.core.shown import one_line


class _PlainTable(Table):
    """A table whose cells are text as it is: names may hold what Rich reads as markup."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add one row."""
        super().add_row(*(Text(one_line(c)) if isinstance(c, str) else c for c in cells), **options)


def plain_table(*headers: str) -> Table:
    """Return an empty table; a header that starts with `>` is of figures, aligned right."""
    table = _PlainTable(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for header in headers:
        right = header.startswith(">")
        table.add_column(
            header.lstrip(">"),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=right,  # figures stay whole where names must fold
        )
    return table


def listing_table(rows: Sequence[tuple[str, ...]], *headers: str) -> Table:
    """Return a plain table of text."""
    table = plain_table(*headers)
    for row in rows:
        table.add_row(*row)
    return table
