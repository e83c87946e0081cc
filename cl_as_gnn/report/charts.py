"""Charts as inline SVG, which take their colours from the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from cl_as_gnn.report.markup import colour

Curve = Sequence[tuple[float, float]]
_MAX_POINTS = 400  # a chart is some 300 pixels wide
_NAMED_CLASSES = 20


def _ticks(low: float, high: float, count: int, **kwargs: Any) -> list[float]:
    """Return round numbers that enclose ``low`` and ``high``."""
    return [float(t) for t in MaxNLocator(count, steps=[1, 2, 2.5, 5, 10], **kwargs).tick_values(low, high)]


def _label(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def line_chart(title: str, curves: Mapping[str, Curve]) -> str:
    """Draw curves over the epochs, each ``[(epoch, value), …]`` with at least one point."""
    width, height, left, right, top, bottom = 360, 200, 58, 12, 10, 34
    x = [p[0] for curve in curves.values() for p in curve]
    y = [p[1] for curve in curves.values() for p in curve]
    ys = _ticks(min(y), max(y), 4)
    first, last = min(x), max(x) if max(x) > min(x) else min(x) + 1
    xs = [t for t in _ticks(first, last, 5, integer=True) if first <= t <= max(x)]

    def place(epoch: float, value: float) -> tuple[float, float]:
        across = (epoch - first) / (last - first)
        up = (value - ys[0]) / (ys[-1] - ys[0])
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
    for i, curve in enumerate(curves.values()):
        step = -(-len(curve) // _MAX_POINTS)
        points = [place(*p) for p in [*curve[:-1:step], curve[-1]]]
        path = "L".join(f"{px:.1f} {py:.1f}" for px, py in points)
        shade = colour(i, len(curves)) if len(curves) > 1 else "var(--accent)"
        parts.append(
            f'<g style="--shade:{shade}"><path class="line" d="M{path}"/>'
            f'<circle class="dot" cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="3.5"/></g>'
        )
    said = "; ".join(
        (f"{name} " if len(curves) > 1 else "")
        + ", ".join(f"{_label(value)} in epoch {epoch:g}" for epoch, value in dict.fromkeys((curve[0], curve[-1])))
        for name, curve in curves.items()
    )
    return _svg(width, height, f"{title} by epoch: {said}", parts, "chart")


def scatter(title: str, points: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], classes: Sequence[str]) -> str:
    """Draw points ``(n, 2)`` in the colours of their classes, with equal axes, class names and a legend."""
    width, margin = 720, 24
    low, high = points.min(0), points.max(0)
    extent = np.maximum(high - low, 1e-9)
    scale = (width - 2 * margin) / extent[0]
    height = float(np.clip(extent[1] * scale + 2 * margin, 300, 720))
    scale = min(scale, (height - 2 * margin) / extent[1])
    middle = (low + high) / 2
    place = np.array([width, height]) / 2 + (points - middle) * scale * [1, -1]
    parts: list[str] = []
    names: list[tuple[float, float, str]] = []
    for i, name in enumerate(classes):
        own = place[labels == i]
        if not len(own):
            continue
        dots = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in own)
        parts.append(f'<path class="dots" stroke="{colour(i, len(classes))}" d="{dots}"/>')
        x, y = np.median(own, axis=0)
        names.append((float(x), float(y) + 7, name))
    key = ""
    if len(classes) <= _NAMED_CLASSES:  # more colours could not be told apart
        key = legend({name: colour(i, len(classes)) for i, name in enumerate(classes)})
        parts += [
            f'<text class="name" x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{escape(name)}</text>'
            for x, y, name in _apart(names)
        ]
    return key + _svg(width, height, title, parts, "map")


def _apart(names: list[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Move names down until they do not overlap."""
    kept: list[tuple[float, float, str]] = []
    for x, y, name in sorted(names, key=lambda n: n[1]):
        while any(abs(y - oy) < 28 and abs(x - ox) < 7 * (len(name) + len(other)) for ox, oy, other in kept):
            y += 3
        kept.append((x, y, name))
    return kept


def legend(entries: Mapping[str, str]) -> str:
    """Return a legend of names and their colours."""
    items = "".join(
        f'<li><span class="swatch" style="background:{shade}"></span>{escape(name)}</li>'
        for name, shade in entries.items()
    )
    return f'<ul class="legend">{items}</ul>'


def _svg(width: float, height: float, said: str, parts: Sequence[str], kind: str) -> str:
    text = escape(said)
    return (
        f'<svg class="{kind}" role="img" aria-label="{text}" viewBox="0 0 {width:.0f} {height:.0f}">'
        f"<title>{text}</title>{''.join(parts)}</svg>"
    )
