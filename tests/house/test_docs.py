"""What the documents name is there: tests that hold promises, and pages that they lead to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_TEST = re.compile(r"`(?:tests/)?((?:[a-z]+/)+test_\w+\.py)?(?:::(test_\w+))?`")
_LINK = re.compile(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made where it is shown."""
    found = set()
    for heading in _HEADING.findall(page.read_text()):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(words.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    """A name that begins with `::` is one of the file that was named before it."""
    file = None
    for name, function in _TEST.findall(page.read_text()):
        if name:
            file = ROOT / "tests" / name
            assert file.is_file(), name
        if function:
            assert file is not None, function
            assert f"def {function}(" in file.read_text(), f"{file.name}::{function}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text()):
        place = (page.parent / target) if target else page
        assert place.exists(), target
        if anchor:
            assert anchor in anchors(place), f"{target}#{anchor}"


def test_every_promise_of_reliability_names_a_test() -> None:
    rows = [
        line
        for line in (ROOT / "docs" / "reliability.md").read_text().splitlines()
        if line.startswith("| ") and not line.startswith(("| promise |", "| --- |"))
    ]
    assert len(rows) >= 25
    for row in rows:
        assert _TEST.search(row.rsplit("|", 2)[1]), row
