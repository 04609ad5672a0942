"""Rows of a sweep as a Parquet file, with the types of its columns whatever is missing in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_type_hints

from ...ir.core.atomic import replacing
from ...ir.core.errors import RefusedError
from .sweep import SweepRow, as_table

_MARK = {b"planish": b"sweep"}  # the metadata of a schema
_FIRST = ("model", "pipeline", "backend")  # columns since before there was a mark
_NEXT = "name another file, or remove this one"


def require_own(path: Path) -> None:
    """Raise RefusedError where `path` is a file with something else than rows of a sweep."""
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(path)
    except FileNotFoundError:
        return
    except (pyarrow.ArrowException, OSError) as error:
        raise RefusedError(f"'{path}' is there and is no Parquet file; {_NEXT}") from error
    is_marked = (schema.metadata or {}).items() >= _MARK.items()
    if not is_marked and tuple(schema.names[: len(_FIRST)]) != _FIRST:
        raise RefusedError(
            f"'{path}' is there and has no rows of a sweep: its columns are "
            f"{', '.join(schema.names[:5]) or 'none'}; {_NEXT}"
        )


def write_rows(rows: Sequence[SweepRow], path: Path) -> None:
    """Write `rows` to `path`, whole or not at all."""
    import pyarrow
    import pyarrow.parquet

    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    hints = get_type_hints(SweepRow)
    schema = pyarrow.schema(
        [(name, kinds[(get_args(hint) or (hint,))[0]]) for name, hint in hints.items()], _MARK
    )
    table = pyarrow.table(as_table(rows), schema=schema)
    with replacing(path) as file:
        pyarrow.parquet.write_table(table, file)
