"""Writing a file in one step: readers see the old file or the new one, never a part of either.

The new file is written beside the old one under another name, and then renamed, which is atomic. A process that is
killed leaves its unfinished file; the next writer of the same path removes it. A lock, which the system releases
when its process ends, tells an abandoned file from one that is still being written.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, which does not remove an open file: this replaces the lock
    fcntl = None  # type: ignore[assignment]


def atomic_write(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a new file, which then replaces the one at `path` or the one that a link there leads to.

    A replaced file keeps its permissions. A device or a pipe is written to directly.

    Raises what `write` and the file system raise. Then the old file is untouched, and no other is left.
    """
    path = os.path.realpath(os.fsdecode(path))
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as stream:
            write(stream)
        return
    folder, name = os.path.split(path)
    name = name[:40]  # the unfinished file's name has a suffix, and its length a limit
    _remove_abandoned(folder, name)
    part = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.part")
    try:
        with _locked(part) as stream:
            write(stream)
            stream.flush()
            if os.path.exists(path):
                os.chmod(part, os.stat(path).st_mode & 0o777)
            os.fsync(stream.fileno())
            if fcntl:  # replace it before the lock ends, and on Windows after the file is closed
                os.replace(part, path)
        if not fcntl:
            os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    if os.name == "posix":  # the new name survives a power failure once its folder is on the disk
        with contextlib.suppress(OSError):
            place = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(place)
            finally:
                os.close(place)


@contextlib.contextmanager
def _locked(part: str) -> Iterator[BinaryIO]:
    """A new file, locked."""
    while True:
        with open(part, "wb") as stream:
            if fcntl:
                with contextlib.suppress(OSError):  # a file system without locks, on which nothing is removed either
                    fcntl.flock(stream, fcntl.LOCK_EX)
            if os.path.exists(part):  # else another writer removed it before it was locked
                yield stream
                return


def _remove_abandoned(folder: str, name: str) -> None:
    """Remove the unfinished files of this name that no process has locked."""
    unfinished = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}\.part")
    with contextlib.suppress(OSError):
        for other in filter(unfinished.fullmatch, os.listdir(folder)):
            other = os.path.join(folder, other)
            with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                if fcntl:
                    fcntl.flock(stack.enter_context(open(other, "r+b")), fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(other)
