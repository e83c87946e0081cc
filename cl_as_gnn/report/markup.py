"""HTML elements: numbers with their keys, tables, embedded images. These functions escape all text."""

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

# Ten hues that differ on white and on black.
PALETTE = ("#4e79a7", "#f28e2b", "#e15759", "#59a14f", "#b07aa1", "#d4a017", "#2aa198", "#d37295", "#9c755f", "#8a8f98")


def colour(i: int, count: int) -> str:
    """Return the i-th of ``count`` colours."""
    return PALETTE[i] if count <= len(PALETTE) else f"hsl({round(360 * i / count)} 55% 52%)"


def number(key: str, value: float | None, text: str) -> str:
    """Return a value of ``metrics.json`` as ``text``, with its key and exact value as attributes."""
    if value is None:
        return '<span title="not defined for this data">–</span>'
    return f'<data data-key="{escape(key)}" value="{value!r}">{escape(text)}</data>'


def setting(value: Any) -> str:
    """Return a value of the config as YAML, escaped."""
    return escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Return a table of the CSS class ``kind``; ``rows`` are HTML, and their first cells are row headings."""
    top = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>\n"
        for first, *rest in rows
    )
    return (
        f'<div class="wide"><table class="{kind}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def figure_uri(figure: Figure) -> str:
    """Return a matplotlib figure with a transparent background as a data URI."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110, transparent=True, bbox_inches="tight", pad_inches=0.05)
    return _uri(buffer)


def image_uri(image: np.ndarray[Any, Any]) -> str:
    """Return a uint8 image ``(C, H, W)`` as a data URI, at most 64 pixels wide."""
    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
    picture.thumbnail((64, 64))
    buffer = BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return _uri(buffer)


def _uri(buffer: BytesIO) -> str:
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
