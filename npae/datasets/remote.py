"""The whole of MNIST: from a folder that NPAE_DATA_DIR names, from the cache, or from the network.

A file is used only if its unpacked bytes have the known SHA-256. A download is written beside its place in the cache
and then renamed, so the cache never holds half a file.
"""

from __future__ import annotations

import os
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np

from npae.estimator.arguments import as_flag
from npae.kernels.arrays import Array
from npae.storage import atomic_write

MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
# name: (size in bytes, SHA-256) of the unpacked file
FILES = {
    "train-images-idx3-ubyte": (47040016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": (60008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": (7840016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": (10008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}
TIMEOUT = 30.0  # seconds


def mnist(labels: bool = False) -> tuple[Array, ...]:
    """All of MNIST: 60,000 training and 10,000 test images.

    Files such as `train-images-idx3-ubyte.gz`, packed or unpacked, are read from the folder that the environment
    variable NPAE_DATA_DIR names or its subfolder `mnist`, then from the user's cache folder. A missing file is
    downloaded into the cache (11 MB in all).

    Parameters
    ----------
    labels : bool
        Whether to return the digits 0 to 9 as well.

    Returns
    -------
    X_train, X_test : float32 arrays (60000, 784) and (10000, 784) in [0, 1]
    y_train, y_test : uint8 arrays (60000,) and (10000,)
        Only with `labels`.

    Raises
    ------
    ValueError
        If a file in NPAE_DATA_DIR has other contents.
    OSError
        If a file is missing and cannot be downloaded.

    Source: LeCun, Cortes and Burges, the MNIST database of handwritten digits, CC BY-SA 3.0.

    Example
    -------
    >>> X_train, X_test = npae.datasets.mnist()  # doctest: +SKIP
    """
    labels = as_flag(labels, "mnist", "labels")
    pixels = (_read(name, header=16).reshape(-1, 784) for name in FILES if "images" in name)
    X = tuple(x.astype(np.float32) / np.float32(255) for x in pixels)
    return X + tuple(_read(name, header=8) for name in FILES if "labels" in name) if labels else X


def _read(name: str, header: int) -> Array:
    """The unsigned bytes of an IDX file after its header, which the SHA-256 covers."""
    return np.frombuffer(_local(name) or _download(name), np.uint8, offset=header)


def _local(name: str) -> bytes | None:
    """The file from NPAE_DATA_DIR, or from the cache, or None; a wrong file in NPAE_DATA_DIR raises ValueError."""
    folder = os.environ.get("NPAE_DATA_DIR")
    own = [Path(folder, inner, name + end) for inner in ("", "mnist") for end in (".gz", "")] if folder else []
    for path in filter(Path.is_file, (*own, cache_folder() / f"{name}.gz")):
        try:
            return _unpack(path.read_bytes(), name)
        except (OSError, ValueError) as error:
            if path in own:
                raise ValueError(
                    f"npae.datasets.mnist expected {path} to be MNIST's {name}, got {error}: "
                    "replace the file, or unset NPAE_DATA_DIR to download it."
                ) from error
    return None


def _download(name: str) -> bytes:
    import urllib.request  # slow to import, and needed for downloads only

    errors, folder = [], cache_folder()
    for url in (f"{mirror}{name}.gz" for mirror in MIRRORS):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
                packed = response.read(FILES[name][0] + 4096)  # a packed file is smaller than that
            data = _unpack(packed, name)
            break
        except Exception as error:  # try the next mirror
            errors.append(f"{url}: {type(error).__name__}: {error}")
    else:
        raise OSError(
            f"npae.datasets.mnist expected to download {name}.gz, got {'; '.join(errors)}. Connect to the network and "
            f"try again, or put the file into {folder} or into a folder that NPAE_DATA_DIR names. "
            "npae.datasets.digits() needs no network."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / f"{name}.gz", lambda stream: stream.write(packed))
    except OSError as error:
        warnings.warn(f"npae could not keep {name} in {folder}: {error}", RuntimeWarning, stacklevel=2)
    return data


def _unpack(raw: bytes, name: str) -> bytes:
    """The unpacked bytes of a file; ValueError says how they differ from the right ones."""
    import hashlib

    size, digest = FILES[name]
    try:  # one byte more than the right size is enough to refuse a file
        data = zlib.decompressobj(wbits=31).decompress(raw, size + 1) if raw[:2] == b"\x1f\x8b" else raw
    except zlib.error as error:
        raise ValueError(f"a file that cannot be unpacked ({error})") from error
    if len(data) != size:
        raise ValueError(f"{'more than ' if len(data) > size else ''}{min(len(data), size)} bytes instead of {size}")
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError("bytes with another SHA-256")
    return data


def cache_folder() -> Path:
    """The folder `npae` in the user's cache folder of the platform."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local", "npae")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "npae"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "npae")
