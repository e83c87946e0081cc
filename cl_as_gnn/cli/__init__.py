"""The command ``clgnn``. Nothing heavy is imported before Ctrl-C is handled."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

from cl_as_gnn.compat import quiet_command
from cl_as_gnn.errors import Interrupted, in_one_line
from cl_as_gnn.runs.stop import end_with_parent, handled


def main() -> None:
    """Entry point: an error is one line and an exit code, and a traceback with ``CLGNN_TRACEBACK=1``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that lacks a sign of a table must not end a run
            stream.reconfigure(errors="replace")
    try:
        with quiet_command(), handled():
            end_with_parent()
            from cl_as_gnn.cli import commands

            commands.app(sys.argv[1:] or ["--help"], prog_name="clgnn", standalone_mode=False)
    except Exception as error:
        if os.environ.get("CLGNN_TRACEBACK") and not isinstance(error, Interrupted):
            raise
        message, code = in_one_line(error)
        if message:
            print(f"error: {message}", file=sys.stderr)  # noqa: T201  (rich would wrap the line)
        sys.exit(code)
