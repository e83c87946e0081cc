"""Elements of the page, which escape all text: numbers with keys, tables, legends, images, charts as inline SVG."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from colorsys import hls_to_rgb
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

Curve = Sequence[tuple[float, float]]
# Ten hues that differ on white and on black.
_HUES = ("#4e79a7", "#f28e2b", "#e15759", "#59a14f", "#b07aa1", "#d4a017", "#2aa198", "#d37295", "#9c755f", "#8a8f98")
_MAX_POINTS = 400  # a chart is some 300 pixels wide
_PIXELS = 32  # smaller pictures, and those of this side, are shown as pixels and kept without loss
_SHEET = 4_000_000  # bytes of all pictures of a map


def palette(names: Collection[str]) -> dict[str, str]:
    """Return a color for each name."""
    if len(names) <= len(_HUES):
        return dict(zip(names, _HUES, strict=False))
    wheel = (hls_to_rgb(i / len(names), 0.52 if i % 2 else 0.42, 0.55) for i in range(len(names)))
    return {name: "#" + "".join(f"{round(255 * c):02x}" for c in rgb) for name, rgb in zip(names, wheel, strict=True)}


def legend(colors: Mapping[str, str]) -> str:
    """Return a legend of names and their colors."""
    items = "".join(
        f'<li><span class="swatch" style="background:{color}"></span>{escape(name)}</li>'
        for name, color in colors.items()
    )
    return f'<ul class="legend">{items}</ul>'


def number(key: str, value: float | None, text: str) -> str:
    """Return a value of ``metrics.json`` as ``text``, with its key and exact value as attributes."""
    if value is None:
        return '<span title="not defined for this data">–</span>'
    return f'<data data-key="{escape(key)}" value="{value!r}">{escape(text)}</data>'


def code(value: Any) -> str:
    """Return a text, or a value of the config as YAML, in a code element."""
    return f"<code>{escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))}</code>"


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
    picture = _picture(image)
    picture.thumbnail((64, 64))
    return _encoded(picture, lossless=picture.mode == "L" or picture.width <= _PIXELS)


def image(picture: np.ndarray[Any, Any], said: str, kind: str = "", title: str = "") -> str:
    """Return a uint8 image ``(C, H, W)`` as an element of the CSS class ``kind``, with what it shows."""
    kinds = " ".join(filter(None, (kind, "pixels" * (picture.shape[-1] <= _PIXELS))))
    more = f' title="{escape(title)}"' if title else ""
    return f'<img class="{kinds}" alt="{escape(said)}"{more} src="{image_uri(picture)}"/>'


def atlas(images: np.ndarray[Any, Any], lossless: bool, share: int = 1) -> tuple[str, int, int]:
    """Return images ``(n, C, s, s)`` on one sheet, row by row: a data URI, their side in pixels and the columns.

    The side is the largest of 96 to 32 with which the sheet takes at most its ``share`` of ``_SHEET`` bytes.
    """
    columns = max(1, math.ceil(len(images) ** 0.5))
    for side in (96, 80, 64, 48, 32):
        tiles = [_picture(image) for image in images]
        for tile in tiles:
            tile.thumbnail((side, side))
        own = tiles[0].width
        sheet = Image.new(tiles[0].mode, (own * columns, own * -(-len(tiles) // columns)))
        for i, tile in enumerate(tiles):
            sheet.paste(tile, (i % columns * own, i // columns * own))
        uri = _encoded(sheet, lossless or own <= _PIXELS)
        if len(uri) <= _SHEET / share:
            break
    return uri, own, columns


def _picture(image: np.ndarray[Any, Any]) -> Image.Image:
    if len(image) == 1:
        return Image.fromarray(image[0])
    return Image.fromarray(np.ascontiguousarray(image[:3].transpose(1, 2, 0)))


def _encoded(picture: Image.Image, lossless: bool) -> str:
    buffer = BytesIO()
    if lossless:
        picture.save(buffer, format="png", optimize=True)
        return _uri(buffer)
    picture.save(buffer, format="jpeg", quality=80, optimize=True)
    return _uri(buffer, "jpeg")


def _uri(buffer: BytesIO, kind: str = "png") -> str:
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def embedded_json(data: Any) -> str:
    """Return data for the scripts of the page as an element, in which no text can end the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json">{text}</script>'


def line_chart(title: str, curves: Mapping[str, Curve], colors: Mapping[str, str] | None = None) -> str:
    """Draw curves over the epochs, each ``[(epoch, value), …]`` with at least one point.

    ``static/charts.js`` reads the values from the attribute ``data-chart``. Without ``colors`` a single curve has that
    of the page.
    """
    x, y = zip(*(point for curve in curves.values() for point in curve), strict=True)
    first, span = min(x), (max(x) - min(x)) or 1
    xs = [tick for tick in _ticks(first, first + span, 5, integer=True) if first <= tick <= max(x)]
    ys = _ticks(min(y), max(y), 4)
    width, height, right, top, bottom = 360, 200, 12, 10, 34
    left = max(58, 16 + 8 * max(len(_label(tick)) for tick in ys))  # 8 px hold a digit of the 13 px font

    def place(epoch: float, value: float) -> tuple[float, float]:
        across, up = (epoch - first) / span, (value - ys[0]) / (ys[-1] - ys[0])
        return left + across * (width - left - right), height - bottom - up * (height - top - bottom)

    parts = []
    for tick in ys:
        at = place(first, tick)[1]
        parts.append(f'<path class="grid" d="M{left} {at:.1f}H{width - right}"/>')
        parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{_label(tick)}</text>')
    for tick in xs:
        at = place(tick, ys[0])[0]
        parts.append(f'<text x="{at:.1f}" y="{height - bottom + 16}" text-anchor="middle">{_label(tick)}</text>')
    parts.append(f'<text x="{width - right}" y="{height - 4}" text-anchor="end">epoch</text>')
    several = len(curves) > 1
    colors = colors or (palette(curves) if several else dict.fromkeys(curves, "var(--accent)"))
    said = []
    kept: dict[str, Curve] = {}
    for name, curve in curves.items():
        kept[name] = [*curve[: -1 : -(-len(curve) // _MAX_POINTS)], curve[-1]]
        points = [place(*p) for p in kept[name]]
        path = "L".join(f"{px:.1f} {py:.1f}" for px, py in points)
        parts.append(
            f'<g style="--shade:{colors[name]}"><path class="line" d="M{path}"/>'
            f'<circle class="dot" cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="3.5"/></g>'
        )
        ends = dict.fromkeys((curve[0], curve[-1]))
        values = ", ".join(f"{_label(value)} in epoch {epoch:g}" for epoch, value in ends)
        said.append(f"{name} {values}" if several else values)
    parts.append('<path class="cross" d=""/>')
    scale = {"first": first, "span": span, "left": left, "width": width - left - right}
    data = json.dumps({"title": title, **scale, "curves": kept}, ensure_ascii=False)
    return _svg(width, height, f"{title} by epoch: {'; '.join(said)}", parts, "chart", data)


def _ticks(low: float, high: float, count: int, **kwargs: Any) -> list[float]:
    """Return round numbers that enclose ``low`` and ``high``; of a single value three around it."""
    if low == high and not kwargs:
        step = abs(low) / 10 or 1.0
        return [float(f"{low + i * step:.3g}") for i in (-1, 0, 1)]
    return [float(t) for t in MaxNLocator(count, steps=[1, 2, 2.5, 5, 10], **kwargs).tick_values(low, high)]


def _label(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _svg(width: float, height: float, said: str, parts: Sequence[str], kind: str, data: str) -> str:
    text = escape(said)
    return (
        f'<svg class="{kind}" role="img" aria-label="{text}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'data-{kind}="{escape(data)}"><title>{text}</title>{"".join(parts)}</svg>'
    )
