"""The examples of ``clgnn COMMAND --help`` name what is there."""

import shlex
from pathlib import Path

import pytest

from cl_as_gnn.cli.commands import EXAMPLES, GROUPS
from cl_as_gnn.config import load_config

ROOT = Path(__file__).parents[2]
LINES = [(name, line) for name, lines in EXAMPLES.items() for line in lines]


@pytest.mark.parametrize(("name", "line"), LINES, ids=[line for _, line in LINES])
def test_an_example_names_a_command_files_and_settings_that_are_there(name, line):
    program, command, *words = shlex.split(line.partition(" | ")[0])
    assert (program, command) == ("clgnn", name)
    assert command in {each.__name__ for group in GROUPS.values() for each in group}
    for word in words:
        if word.endswith(".yaml"):
            assert (ROOT / word).is_file(), word
    given = [word for word in words if "=" in word and not word.startswith(("resume=", "seeds="))]
    load_config(None, given)
