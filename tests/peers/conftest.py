"""The helpers of this folder and of ``tests/methods`` on the path."""

import sys
from pathlib import Path

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "methods"):
    sys.path.insert(0, str(folder))
