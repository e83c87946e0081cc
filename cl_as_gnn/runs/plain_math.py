"""Docstrings and their formulas as plain text, for a terminal."""

from __future__ import annotations

import inspect
import re

_NAMES = """
alpha α beta β gamma γ delta δ epsilon ε varepsilon ε theta θ kappa κ lambda λ mu μ nu ν pi π rho ρ sigma σ tau τ phi φ
varphi φ chi χ psi ψ omega ω Sigma Σ Gamma Γ Delta Δ Lambda Λ Omega Ω sum Σ prod Π in ∈ notin ∉ ne ≠ neq ≠ le ≤ leq ≤
ge ≥ geq ≥ approx ≈ propto ∝ cdot · times × otimes ⊗ odot ⊙ circ ∘ leftarrow ← rightarrow → to → mapsto ↦ infty ∞
partial ∂ nabla ∇ ell ℓ top ᵀ cup ∪ cap ∩ sim ~ mid | star * langle ⟨ rangle ⟩ dots … ldots … cdots … lVert ‖ rVert ‖
Vert ‖ | ‖
""".split()  # noqa: SIM905
_SIGNS = dict(zip(_NAMES[::2], _NAMES[1::2], strict=True))
_SIGNS |= {"qquad": "    ", "quad": "  ", ",": " ", ";": " ", ":": " ", " ": " ", "!": "", "{": "⦃", "}": "⦄"}
_RAISED = dict(zip("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True))
_OVER = {"hat": "\u0302", "widehat": "\u0302", "bar": "\u0304", "overline": "\u0304", "tilde": "\u0303"}
_FONTS = "text|mathrm|mathbf|mathbb|mathcal|mathit|operatorname|boldsymbol"
_ARGUMENT = r"\{([^{}]*)\}"


def plain_math(tex: str) -> str:
    r"""A formula in TeX as one line of text: ``\frac{1}{\tau} x_{i}^\top`` becomes ``1/τ x_iᵀ``."""
    text = re.sub(r"\\(?:[Bb]igg?[lr]?|left|right|limits|displaystyle)(?![a-zA-Z])\.?", "", tex.replace(r"\\", "\n"))
    text = re.sub(r"\\begin\{\w+\*?\}|\\end\{\w+\*?\}|&", "", text)
    text = re.sub(r"\\([{}])", lambda m: _SIGNS[m[1]], text)
    text = re.sub(r"\\(?:[td]?frac)\s*([0-9A-Za-z])\s*(\w|\\[a-z]+)", r"\1/\2", text)
    text = re.sub(r"\^\{?\\top\}?", "ᵀ", text)
    before = None
    while text != before:  # from the inside out
        before = text
        text = re.sub(rf"\\(?:{_FONTS})\*?\s*{_ARGUMENT}", r"\1", text)
        text = re.sub(rf"\\({'|'.join(_OVER)})\s*(?:{{(\w)}}|([A-Za-z]))", _over, text)
        text = re.sub(rf"\\sqrt\s*(?:{_ARGUMENT}|(\w|\\[a-z]+))", lambda m: f"√{_one(m[1] or m[2])}", text)
        text = re.sub(rf"\\[td]?frac\s*{_ARGUMENT}\s*{_ARGUMENT}", lambda m: f"{_one(m[1])}/{_one(m[2])}", text)
        text = re.sub(rf"([_^]){_ARGUMENT}", lambda m: m[1] + _one(m[2]), text)
    text = re.sub(r"\\([a-zA-Z]+|[|,;:! ])", lambda m: _SIGNS.get(m[1], m[1]), text)
    text = re.sub(r"\^([0-9])(?!\w)", lambda m: _RAISED[m[1]], text).replace("^-1", "⁻¹")
    text = text.translate(str.maketrans("⦃⦄", "{}", "{}\\"))
    return "\n".join(re.sub(r" {2,3}(?! )", " ", line).strip() for line in text.split("\n"))


def _over(found: re.Match[str]) -> str:
    return (found[2] or found[3]) + _OVER[found[1]]


def _one(text: str) -> str:
    """In parentheses unless it is one thing."""
    whole = re.fullmatch(r"\s*(?:\\?\w+|[-+]?\w|\(.*\)|\|[^|]*\|)\s*", text)
    return text if whole else f"({text.strip()})"


def plain_doc(entry: type[object]) -> str:
    """The docstring of a class without its markup, a paragraph per line and formulas indented."""
    text = inspect.cleandoc(entry.__doc__ or "")
    text = re.sub(r"`([^`<]+?)\s*<(https?:[^>]+)>`_+", r"\1 (\2)", text)
    text = re.sub(r":math:`([^`]+)`", lambda m: plain_math(m[1].replace("\n", " ")), text)
    text = re.sub(r":(?:class|func|meth|mod|data|attr):`~?([^`]+)`", r"\1", text).replace("``", "")
    out = []
    for part in re.split(r"\n\s*\n", text):
        if part.startswith(".. math::"):
            formula = part.removeprefix(".. math::").strip()
            part = "\n".join(f"    {line}" for line in plain_math(" ".join(formula.split())).split("\n"))
        elif not re.match(r"\s*[-*] |\w+:\n", part):
            part = " ".join(part.split())
        out.append(part)
    return "\n\n".join(out)
