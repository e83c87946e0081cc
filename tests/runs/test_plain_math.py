"""Formulas of docstrings as text."""

import re

import pytest

from cl_as_gnn.methods import METHODS
from cl_as_gnn.runs.plain_math import plain_doc, plain_math


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"\frac{1}{\tau} x_{i}^\top y_j", "1/τ x_iᵀ y_j"),
        (r"\tfrac12 (P + P^\top)", "1/2 (P + Pᵀ)"),
        (r"\frac{e^{x_i \cdot x_j / \tau}}{\sum_{k \ne i} e^{s_k}}", "(e^(x_i · x_j / τ))/(Σ_(k ≠ i) e^s_k)"),
        (r"\Big( \mathbf{1} - \hat{h} \Big)^2, \quad \bar z_j \text{ alike}", "( 1 - h\u0302 )²,  z\u0304_j alike"),
        (r"|\{k : c_k = c_i\}| \le \sqrt\mu", "|{k : c_k = c_i}| ≤ √μ"),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "a = b\nc = d"),
    ],
)
def test_tex_becomes_text(tex, text):
    assert plain_math(tex) == text


def test_no_docstring_of_a_method_keeps_markup():
    for name, method in METHODS.items():
        assert not re.search(r"\\|:math:|\.\. math|``|\^\{|_\{", plain_doc(method)), name
