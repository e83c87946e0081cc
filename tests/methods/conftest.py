"""The folder of these tests on the path, for the helpers in ``laws.py``; narrow strips for the losses."""

import sys
from pathlib import Path

import pytest

from cl_as_gnn.nn.terms import pair_term

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def narrow_strips(monkeypatch):
    """Strips of three rows, so that every test crosses their borders."""
    monkeypatch.setattr(pair_term, "_STRIP", 3 * 2 * 7)
    monkeypatch.setattr("cl_as_gnn.nn.terms.gaussian_repulsion._STRIP", 3 * 7)
