"""Rows of a sweep as a Parquet file, with the types of its columns whatever is missing in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_type_hints

from ...ir.core.atomic import replacing
from .sweep import SweepRow, as_table


def write_rows(rows: Sequence[SweepRow], path: Path) -> None:
    """Write `rows` to `path`, whole or not at all."""
    import pyarrow
    import pyarrow.parquet

    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    hints = get_type_hints(SweepRow)
    schema = pyarrow.schema(
        [(name, kinds[(get_args(hint) or (hint,))[0]]) for name, hint in hints.items()]
    )
    table = pyarrow.table(as_table(rows), schema=schema)
    with replacing(path) as file:
        pyarrow.parquet.write_table(table, file)
