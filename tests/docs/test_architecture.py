"""The picture of the house, and every path that the pages about its inside name, are true."""

from __future__ import annotations

import configparser
import re

import pytest

from tests.docs.snippets import ROOT

PAGES = [ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs" / "internals").glob("*.md"))]
FLOORS = ("cli", "integrations", "tools", "backends", "passes", "ir")


def _picture():
    """Return the rows of rooms of each floor, as drawn from the top down."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    drawn = text.partition("```text\n")[2].partition("```")[0].replace("|\n" + " " * 12, "| ")
    rows, floor = {}, ""
    for line in drawn.splitlines():
        floor = line[:12].strip().removesuffix("/") or floor
        rooms = re.match(r"\S+(?: \| \S+)*", line[12:])
        if rooms:
            rows.setdefault(floor, []).append(set(rooms[0].split(" | ")))
    return rows


def _contracts():
    """Return the layers of the contract on each floor, the topmost first."""
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    return {
        floor: [
            set(row.split(" | "))
            for row in contracts[f"importlinter:contract:{floor}"]["layers"].split("\n")
            if row
        ]
        for floor in FLOORS
    }


def test_picture_is_the_contract():
    assert _picture() == _contracts()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(rf"`((?:{'|'.join(FLOORS)})/[\w/]+)`", text)
    assert named
    missing = [path for path in named if not _exists(path)]
    assert not missing


def _exists(path):
    return (ROOT / path).exists() or (ROOT / f"{path}.py").exists()
