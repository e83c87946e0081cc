"""What stands under a table."""

from pathlib import Path

import pytest

from benchmarks.common.provenance import processor, source

CONTENT = {"versions": {"cl-as-gnn": "0", "torch": "2"}, "machine": {"processor": "one"}}
LINK = "every number is in [benchmarks/results/a.json](../benchmarks/results/a.json).\n"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ((), ""),
        ((None, 0), ""),
        ((12.4, None), "a run took 12 seconds; "),
        ((1200, 1.25), "a run took 1.2 to 1,200 seconds; "),
        ((0.034,), "a run took 0.034 seconds; "),
    ],
)
def test_versions_machine_and_times_are_told(seconds, told):
    assert source(Path("folder/a.json"), CONTENT, seconds) == f"cl_as_gnn 0, torch 2; one; {told}{LINK}"


def test_an_architecture_is_not_taken_for_a_processor():
    assert processor(CONTENT) == "one"
    assert processor({"machine": {"processor": "x86_64"}}) == "x86_64, the processor's name was not recorded"
