"""The sizes of the processor's caches, as the machine reports them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")  # on Linux
USUAL = 512 << 10  # where the system does not tell


@lru_cache(maxsize=1)
def second_level_cache() -> int:
    """Bytes of the second-level cache of one core."""
    return _size_of_level(2, CACHES) or USUAL


def _size_of_level(level: int, folder: Path) -> int:
    """Bytes of the cache of this level, as "512K" in the file "size" beside "level"; 0 if it is not told."""
    try:
        for cache in sorted(folder.glob("index*")):
            if int((cache / "level").read_text()) == level:
                return int((cache / "size").read_text().strip().removesuffix("K")) << 10
    except (OSError, ValueError):
        pass
    return 0
