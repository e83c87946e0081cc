"""Formulas as MathML, which browsers draw without a script or a font from elsewhere."""

from __future__ import annotations

import html
from typing import Any, Literal

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

_LOG = logging.getLogger(__name__)


def _mathml(node: nodes.Node, text: str, display: Literal["inline", "block"]) -> str:
    try:
        return convert(text.replace(r"\_", "_"), display=display)
    except Exception as error:  # the converter has many, and each is a mistake in a page
        _LOG.warning("formula %r: %r", text, error, location=node)
        return html.escape(text)


def _inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(_mathml(node, node.astext(), "inline"))
    raise nodes.SkipNode


def _block(writer: Any, node: nodes.math_block) -> None:
    for line in filter(None, node.astext().split("\n\n")):
        aligned = ("&" in line or r"\\" in line) and r"\begin" not in line
        text = rf"\begin{{align*}}{line}\end{{align*}}" if aligned else line
        writer.body.append(f'<div class="formula">{_mathml(node, text, "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
