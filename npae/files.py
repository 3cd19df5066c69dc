"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed: as good as a lock
    fcntl = None  # type: ignore[assignment]

_KEPT = 40  # characters of the name in that of the unfinished file, which must not become too long


def write_whole(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file beside `path`, then rename it: what stood there is lost only once the new one is whole.

    This holds for an exception, Ctrl-C, a full disk, and the end of the process at any moment. A file that is
    replaced keeps its permissions, one that a link leads to is replaced where it is. What is no file but a device or
    a pipe is written to as it is.

    Raises what `write` and the file system raise; then `path` is as it was and nothing else is left behind. Only a
    process that is killed leaves its unfinished file, `.<name>.<16 digits>.part`: the next call for the same path,
    from whatever process, removes it.
    """
    path = os.path.realpath(os.fsdecode(path))
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as stream:
            write(stream)
        return
    folder, name = os.path.split(path)
    _sweep(folder, name)
    part = os.path.join(folder, f".{name[:_KEPT]}.{os.urandom(8).hex()}.part")
    try:
        with _locked(part) as stream:
            write(stream)
            stream.flush()
            if os.path.exists(path):
                os.chmod(part, os.stat(path).st_mode & 0o777)
            os.fsync(stream.fileno())
            if fcntl:
                os.replace(part, path)  # under the lock, so that nobody takes it for one left behind
        if not fcntl:
            os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    _sync(folder)


@contextlib.contextmanager
def _locked(part: str) -> Iterator[BinaryIO]:
    """A new file under a lock that ends with its process, however that ends."""
    while True:
        with open(part, "wb") as stream:
            if fcntl:
                with contextlib.suppress(OSError):  # a file system without locks: nobody can sweep there either
                    fcntl.flock(stream, fcntl.LOCK_EX)
            if os.path.exists(part):
                yield stream
                return
        # It was swept before the lock was there.


def _sweep(folder: str, name: str) -> None:
    """Remove the unfinished files that killed processes have left behind: those that nobody holds locked."""
    left = re.compile(rf"\.{re.escape(name[:_KEPT])}\.[0-9a-f]{{16}}\.part")
    with contextlib.suppress(OSError):
        for other in filter(left.fullmatch, os.listdir(folder)):
            with contextlib.suppress(OSError), open(os.path.join(folder, other), "r+b") as stream:
                if fcntl:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(stream.name)
            if not fcntl:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, other))


def _sync(folder: str) -> None:
    """See to it that the new name outlasts a power failure, where a folder can be told so."""
    if os.name == "posix":
        with contextlib.suppress(OSError):
            place = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(place)
            finally:
                os.close(place)
