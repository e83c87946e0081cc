"""What stands under a table."""

from pathlib import Path

import pytest

from benchmarks.common.provenance import source

CONTENT = {"versions": {"torch": "2"}, "machine": {"processor": "one"}}
LINK = "every number is in [benchmarks/results/a.json](../benchmarks/results/a.json).\n"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ((), ""),
        ((None, 0), ""),
        ((12.4, None), "a run took 12 seconds; "),
        ((1200, 1.25), "a run took 1.2 to 1,200 seconds; "),
    ],
)
def test_versions_machine_and_times_are_told(seconds, told):
    assert source(Path("folder/a.json"), CONTENT, seconds) == f"torch 2; one; {told}{LINK}"
