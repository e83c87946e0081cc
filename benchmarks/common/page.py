"""Text in docs pages that is made from results, between ``<!-- results: NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
MARKED = re.compile(r"(<!-- results: (\w+) -->\n)(.*?)(<!-- end -->)", flags=re.DOTALL)
Block = Callable[[], str]


def marks(text: str) -> list[str]:
    """Names of the marked parts of a page, in order."""
    return [name for _, name, _, _ in MARKED.findall(text)]


def refreshed(text: str, blocks: Mapping[str, Block]) -> str:
    """Make the marked parts of a page anew and keep the rest.

    Args:
        text: The page.
        blocks: For each name a function that makes the text from the results.

    Raises:
        ValueError: No block has the name of a mark.
    """

    def fill(found: re.Match[str]) -> str:
        if found[2] not in blocks:
            raise ValueError(f"mark {found[2]!r}: no benchmark makes it; known are {', '.join(blocks)}")
        return found[1] + blocks[found[2]]() + found[4]

    return MARKED.sub(fill, text)


def stale(blocks: Mapping[str, Block], folder: Path = DOCS) -> Iterator[tuple[Path, str]]:
    """Yield the pages of a folder that differ from their results, each with its new text."""
    for path in sorted(folder.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        new = refreshed(text, blocks)
        if new != text:
            yield path, new
