"""Pages of files that lie at the root of the repository, with their links turned to the site's."""

from __future__ import annotations

import re
from pathlib import Path

from pages import Page

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def pages() -> list[Page]:
    """Return a page a file."""
    return [Page(uri, "", _turned((ROOT / name).read_text("utf-8"))) for name, uri in PAGES.items()]


def problems() -> list[str]:
    """Return a line for each link of the README, or of these files, that leads nowhere."""
    found = []
    for name in ("README.md", *PAGES):
        for target, _ in _LINK.findall((ROOT / name).read_text("utf-8")):
            if not (ROOT / target).exists():
                found.append(f"dead link in {name}: {target}")
    return found


def _turned(text: str) -> str:
    def turn(link: re.Match[str]) -> str:
        target, anchor = link.group(1), link.group(2) or ""
        inside = PAGES.get(target, target.removeprefix("docs/"))
        return f"]({inside}{'index.md' if inside.endswith('/') else ''}{anchor})"

    return _LINK.sub(turn, text)
