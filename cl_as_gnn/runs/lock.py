"""One process at a time writes in a folder. Imports no torch."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cl_as_gnn.errors import ConfigError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, the file ``.lock`` in it. The system releases that of a process that is killed.

    Raises:
        ConfigError: another process holds it, or the folder cannot be written.
    """
    try:
        file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ConfigError(f"cannot write in {folder}: {error.strerror}") from None
    try:
        try:
            _lock(file)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise ConfigError(
                    f"{folder} is in use by another process that trains in it: wait until it has ended, or name "
                    "another folder"
                ) from None
            # A file system without locks: as without this function.
        yield
    finally:
        os.close(file)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
