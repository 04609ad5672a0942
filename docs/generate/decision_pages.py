"""The dated notes of `docs/decisions/`, newest first, and the table of them."""

from __future__ import annotations

from pathlib import Path

from pages import Page, table

FOLDER = Path(__file__).resolve().parent.parent / "decisions"
_INTRO = """# Decisions

Dated notes: what was decided, and what measuring or failing showed. A note is not edited later; a
new one says that it replaces it.

"""


def page() -> Page:
    """Return the table of all notes."""
    rows = [[name[:10], f"[{_title(name)}]({name})"] for name in _notes()]
    return Page("decisions/index.md", "", _INTRO + table(["date", "decision"], rows) + "\n")


def nav() -> list[str]:
    """Return the entries of the navigation: the table, then the notes."""
    return [f"decisions/{name}" for name in ("index.md", *_notes())]


def _notes() -> list[str]:
    return sorted((path.name for path in FOLDER.glob("20*.md")), reverse=True)


def _title(name: str) -> str:
    return (FOLDER / name).read_text("utf-8").partition("\n")[0].removeprefix("# ")
