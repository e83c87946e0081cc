"""A contact sheet: pictures with captions on one page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from cl_as_gnn.errors import RunError
from cl_as_gnn.report.markup import image_uri
from cl_as_gnn.report.template import page
from cl_as_gnn.runs.folder import replaced

Picture = np.ndarray[Any, Any]
_STYLE = """
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: 1.25rem 1rem;
  margin-top: 1.25rem; }
.sheet img { width: 6rem; height: 6rem; object-fit: contain; image-rendering: pixelated; border-radius: .3rem; }
.sheet .near img { width: 2rem; height: 2rem; margin-right: .2rem; }
.sheet figcaption { margin-top: .25rem; line-height: 1.3; overflow-wrap: anywhere; }
.sheet b { color: var(--ink); font-weight: 600; }
"""


def write_sheet(
    path: Path, title: str, said: str, pictures: Sequence[Sequence[Picture]], captions: Sequence[Sequence[str]]
) -> None:
    """Write a page of pictures.

    Args:
        path: the ``.html`` file.
        title: the heading.
        said: a sentence below it.
        pictures: for each figure a large picture, uint8 ``(C, H, W)``, and small ones that go with it.
        captions: for each figure its lines, the first in bold.

    Raises:
        RunError: the file cannot be written.
    """
    figures = []
    for shown, lines in zip(pictures, captions, strict=True):
        first, *rest = (escape(line) for line in lines)
        large, *small = (f'<img alt="" src="{image_uri(picture)}"/>' for picture in shown)
        near = f'<div class="near">{"".join(small)}</div>' if small else ""
        text = "".join(f"<br/>{line}" for line in rest)
        figures.append(f"<figure>{large}{near}<figcaption><b>{first}</b>{text}</figcaption></figure>")
    sheet = f'<p>{escape(said)}</p>\n<div class="sheet">' + "\n".join(figures) + "</div>"
    header = f"<h1>{escape(title)}</h1>"
    text = page(escape(title), header, sheet, style=_STYLE)
    try:
        with replaced(path) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from None
