"""Pieces of HTML: numbers that say what they are, tables, embedded pictures. Whatever is text is escaped here."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

# Ten hues that keep apart on white and on black.
PALETTE = ("#4e79a7", "#f28e2b", "#e15759", "#59a14f", "#b07aa1", "#d4a017", "#2aa198", "#d37295", "#9c755f", "#8a8f98")


def colour(i: int, count: int) -> str:
    """The i-th of ``count`` colours."""
    return PALETTE[i] if count <= len(PALETTE) else f"hsl({round(360 * i / count)} 55% 52%)"


def number(key: str, value: float | None, text: str) -> str:
    """A value of ``metrics.json``: ``text`` to read, the value itself and its key for programs."""
    if value is None:
        return '<span title="not defined for this data">–</span>'
    return f'<data data-key="{escape(key)}" value="{value!r}">{escape(text)}</data>'


def setting(value: Any) -> str:
    """A value of the config as YAML would write it, escaped."""
    return escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table whose first column names the rows.

    Args:
        caption: text above it.
        head: texts of the columns.
        rows: cells as HTML, escaped already.
        kind: CSS class.
    """
    top = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>\n"
        for first, *rest in rows
    )
    return (
        f'<div class="wide"><table class="{kind}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def figure_uri(figure: Figure, dpi: int = 110) -> str:
    """A matplotlib figure on a clear background, as a data URI."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, transparent=True, bbox_inches="tight", pad_inches=0.05)
    return _uri(buffer)


def image_uri(image: np.ndarray[Any, Any], side: int = 64) -> str:
    """A uint8 image ``(C, H, W)`` as a data URI, at most ``side`` pixels wide."""
    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
    picture.thumbnail((side, side))
    buffer = BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return _uri(buffer)


def _uri(buffer: BytesIO) -> str:
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
