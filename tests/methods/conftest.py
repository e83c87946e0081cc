"""The folder of these tests on the path, for the helpers in ``laws.py``; narrow strips for the losses."""

import sys
from pathlib import Path

import pytest

from cl_as_gnn.nn.streaming import tiles

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def narrow_strips(monkeypatch):
    """Strips of three rows, so that every test crosses their borders."""
    monkeypatch.setitem(tiles.BYTES, ("cpu", "strip"), 8 * 2 * 3 * 2 * 7)
