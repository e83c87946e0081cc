"""Elements of the page, which escape all text: numbers with keys, tables, legends, images, charts as inline SVG."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
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
_NAMED_CLASSES = 20
_THUMBNAIL = 36


def palette(names: Collection[str]) -> dict[str, str]:
    """Return a color for each name."""
    if len(names) <= len(_HUES):
        return dict(zip(names, _HUES, strict=False))
    return {name: f"hsl({round(360 * i / len(names))} 55% 52%)" for i, name in enumerate(names)}


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
    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
    picture.thumbnail((64, 64))
    buffer = BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return _uri(buffer)


def _uri(buffer: BytesIO) -> str:
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def line_chart(title: str, curves: Mapping[str, Curve]) -> str:
    """Draw curves over the epochs, each ``[(epoch, value), …]`` with at least one point."""
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
    colors = palette(curves) if several else dict.fromkeys(curves, "var(--accent)")
    said = []
    for name, curve in curves.items():
        points = [place(*p) for p in [*curve[: -1 : -(-len(curve) // _MAX_POINTS)], curve[-1]]]
        path = "L".join(f"{px:.1f} {py:.1f}" for px, py in points)
        parts.append(
            f'<g style="--shade:{colors[name]}"><path class="line" d="M{path}"/>'
            f'<circle class="dot" cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="3.5"/></g>'
        )
        ends = dict.fromkeys((curve[0], curve[-1]))
        values = ", ".join(f"{_label(value)} in epoch {epoch:g}" for epoch, value in ends)
        said.append(f"{name} {values}" if several else values)
    return _svg(width, height, f"{title} by epoch: {'; '.join(said)}", parts, "chart")


def scatter(title: str, points: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], classes: Sequence[str]) -> str:
    """Draw points ``(n, 2)`` in the colors of their classes, with equal axes, class names and a legend."""
    place, size = _placed(points)
    colors = palette(classes)
    parts: list[str] = []
    names: list[tuple[float, float, str]] = []
    for i, name in enumerate(classes):
        own = place[labels == i]
        if len(own):
            parts.append(_dots(own, colors[name]))
            x, y = np.median(own, axis=0)
            names.append((float(x), float(y) + 7, name))
    if len(classes) > _NAMED_CLASSES:  # more colors could not be told apart
        return _svg(*size, title, parts, "map")
    parts += [
        f'<text class="name" x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{escape(name)}</text>'
        for x, y, name in _apart(names)
    ]
    return legend(colors) + _svg(*size, title, parts, "map")


def thumbnails(title: str, points: np.ndarray[Any, Any], images: np.ndarray[Any, Any]) -> str:
    """Draw points ``(n, 2)`` with equal axes, and over them the uint8 images ``(n, C, H, W)`` that do not overlap."""
    place, size = _placed(points, margin=_THUMBNAIL / 2 + 8)
    kept: list[int] = []
    for i, at in enumerate(place):
        if not kept or np.abs(place[kept] - at).max(1).min() >= _THUMBNAIL + 4:
            kept.append(i)
    parts = [_dots(place, "var(--soft)")]
    for i in kept:
        x, y = place[i] - _THUMBNAIL / 2
        box = f'x="{x:.0f}" y="{y:.0f}" width="{_THUMBNAIL}" height="{_THUMBNAIL}"'
        parts.append(f'<image {box} href="{image_uri(images[i])}"/><rect class="frame" {box}/>')
    return _svg(*size, title, parts, "map")


def _placed(points: np.ndarray[Any, Any], margin: float = 24) -> tuple[np.ndarray[Any, Any], tuple[float, float]]:
    """Return points ``(n, 2)`` on a drawing with equal axes, and its width and height."""
    width = 720.0
    low, high = points.min(0), points.max(0)
    extent = np.maximum(high - low, 1e-9)
    scale = (width - 2 * margin) / extent[0]
    height = float(np.clip(extent[1] * scale + 2 * margin, 300, 720))
    scale = min(scale, (height - 2 * margin) / extent[1])
    return np.array([width, height]) / 2 + (points - (low + high) / 2) * scale * [1, -1], (width, height)


def _dots(points: np.ndarray[Any, Any], color: str) -> str:
    return f'<path class="dots" stroke="{color}" d="{"".join(f"M{x:.0f} {y:.0f}h0" for x, y in points)}"/>'


def _ticks(low: float, high: float, count: int, **kwargs: Any) -> list[float]:
    """Return round numbers that enclose ``low`` and ``high``."""
    return [float(t) for t in MaxNLocator(count, steps=[1, 2, 2.5, 5, 10], **kwargs).tick_values(low, high)]


def _label(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _apart(names: list[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Move names down until they do not overlap."""
    kept: list[tuple[float, float, str]] = []
    for x, y, name in sorted(names, key=lambda n: n[1]):
        while any(abs(y - oy) < 28 and abs(x - ox) < 7 * (len(name) + len(other)) for ox, oy, other in kept):
            y += 3
        kept.append((x, y, name))
    return kept


def _svg(width: float, height: float, said: str, parts: Sequence[str], kind: str) -> str:
    text = escape(said)
    return (
        f'<svg class="{kind}" role="img" aria-label="{text}" viewBox="0 0 {width:.0f} {height:.0f}">'
        f"<title>{text}</title>{''.join(parts)}</svg>"
    )
