"""Graph functions and transforms on hostile input: a call is one line, or what its definition says.

``CLGNN_FUZZ=10000`` draws as many.
"""

import os
import runpy
import warnings
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("CLGNN_FUZZ", "200"))
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
definitions = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("definitions.py"))))
COUNTS: Counter[str] = Counter()
pytestmark = [pytest.mark.timeout(0)] if EXAMPLES > 200 else []


@st.composite
def inputs(draw):
    dtype, seed = draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**31))
    n, d = draw(st.sampled_from([0, 1, 2, 3, 4, 6, 8, 12])), draw(st.sampled_from([0, 1, 2, 3, 3, 6]))
    generator = torch.Generator().manual_seed(seed)
    x = definitions.formulas.hostile(draw, n, d, dtype, generator)
    count = draw(st.integers(0, 6)) if n else 0
    c = {
        "edges": torch.randint(0, max(n, 1), (2, count), generator=generator),
        "batch": torch.randint(0, 2, (n,), generator=generator) if draw(st.booleans()) else None,
        "label": torch.randint(-1, 3, (n,), generator=generator),
        "rows": torch.randn(draw(st.sampled_from([0, 2, 4, 9])), 6, generator=generator),
        "pairs": torch.stack([torch.randint(0, m, (count,), generator=generator) for m in (4, 3)]),
        "draw": lambda n: torch.rand(n, generator=generator),
    }
    torch.manual_seed(seed)
    options = {
        "k": [1, 2, 3, 5],
        "views": [1, 2, 2, 3],
        "tau": [1e-3, 0.1, 0.5, 10.0],
        "p": [0.0, 0.3, 0.5, 1.0],
        "limit": [None, 1, 2],
        "hops": [1, 2, 3],
        "flag": [False, True],
        "backend": ["torch", "auto"],
    }
    return (
        draw(st.sampled_from(list(definitions.CASES))),
        x,
        c | {key: draw(st.sampled_from(some)) for key, some in options.items()},
    )


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES == 200)
@given(inputs())
def test_is_what_it_says_or_one_line(example):
    name, x, c = example
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = definitions.CASES[name](x, c)
    except ValueError as error:
        if "\n" in str(error) or " expects " not in str(error):
            raise
        COUNTS["refused"] += 1
        return
    COUNTS["compared"] += 1
    COUNTS["ties" if found else name] += 1


@pytest.fixture(scope="module", autouse=True)
def _counts():
    yield
    if os.environ.get("CLGNN_FUZZ"):
        print("\n", dict(COUNTS))  # noqa: T201
