"""The whole of MNIST: from a folder of yours, else from the cache, else from the network.

A file counts only if the bytes it unpacks to have the known digest, wherever it came from. A download is
written under another name and then renamed, so that the cache never holds half a file.
"""

from __future__ import annotations

import gzip
import io
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
# name: bytes unpacked, SHA-256 of them
FILES = {
    "train-images-idx3-ubyte": (47040016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": (60008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": (7840016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": (10008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}
TIMEOUT = 30.0  # seconds without an answer


def mnist(labels: bool = False) -> tuple[Array, ...]:
    """All of MNIST: 60,000 training and 10,000 test images.

    Looked for as `train-images-idx3-ubyte.gz` and so on (unpacked will do) in the folder that the
    environment variable NPAE_DATA_DIR names or its `mnist` folder, then in the user's cache folder; what
    is in neither is downloaded into the cache (11 MB).

    Parameters
    ----------
    labels : bool
        Whether to return the digits 0 to 9 that the images show as well.

    Returns
    -------
    X_train, X_test : float32 arrays (60000, 784) and (10000, 784) in [0, 1]
    y_train, y_test : uint8 arrays (60000,) and (10000,)
        Only with `labels`.

    Raises
    ------
    ValueError
        If a file in NPAE_DATA_DIR is not the one it is named after.
    OSError
        If a file is nowhere and cannot be downloaded; the message says what to do.

    Source: LeCun, Cortes and Burges, the MNIST database of handwritten digits, CC BY-SA 3.0.

    Example
    -------
    >>> X_train, X_test = npae.datasets.mnist()  # doctest: +SKIP
    """
    labels = as_flag(labels, "mnist", "labels")
    X = tuple(_images(name) for name in FILES if "images" in name)
    return X + tuple(_file(name, 8) for name in FILES if "labels" in name) if labels else X


def _images(name: str) -> Array:
    return _file(name, 16).reshape(-1, 784).astype(np.float32) / np.float32(255)


def _file(name: str, header: int) -> Array:
    """The numbers of an IDX file: unsigned bytes after a header that the digest has already vouched for."""
    return np.frombuffer(_own(name) or _cached(name) or _download(name), np.uint8, offset=header)


def _own(name: str) -> bytes | None:
    folder = os.environ.get("NPAE_DATA_DIR")
    if not folder:
        return None
    for path in (Path(folder, inner, name + end) for inner in ("", "mnist") for end in (".gz", "")):
        if path.is_file():
            data, fault = _unpacked(path.read_bytes(), name)
            if data is None:
                raise ValueError(
                    f"npae.datasets.mnist expected {path} to be MNIST's {name}, got {fault}: "
                    "replace the file, or unset NPAE_DATA_DIR to download it."
                )
            return data
    return None


def _cached(name: str) -> bytes | None:
    try:
        return _unpacked((cache_folder() / f"{name}.gz").read_bytes(), name)[0]
    except OSError:
        return None


def _download(name: str) -> bytes:
    import urllib.request  # not needed by anyone who has the files

    faults = []
    for mirror in MIRRORS:
        url = f"{mirror}{name}.gz"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
                packed = response.read(FILES[name][0] + 4096)  # a packed file is smaller: a longer one is wrong
        except Exception as error:  # refused, unknown, too slow, not HTTP, cut off: the next mirror may do better
            faults.append(f"{url}: {type(error).__name__}: {error}")
            continue
        data, fault = _unpacked(packed, name)
        if data is not None:
            _keep(name, packed)
            return data
        faults.append(f"{url}: {fault}")
    raise OSError(
        f"npae.datasets.mnist expected to download {name}.gz, got " + "; ".join(faults) + ". "
        f"Connect to the network and try again, or put the file into {cache_folder()} or into a folder that "
        "NPAE_DATA_DIR names. npae.datasets.digits() needs no network."
    )


def _unpacked(raw: bytes, name: str) -> tuple[bytes | None, str]:
    """The bytes of the file if they are the right ones, else None and what is wrong with them."""
    import hashlib

    size, digest = FILES[name]
    try:
        data = raw
        if raw[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
                data = stream.read(size + 1)  # never more than one byte too many
    except (OSError, EOFError, zlib.error) as error:
        return None, f"a file that cannot be unpacked ({error})"
    if len(data) != size:
        return None, f"{'more than ' if len(data) > size else ''}{min(len(data), size)} bytes instead of {size}"
    if hashlib.sha256(data).hexdigest() != digest:
        return None, "bytes with another SHA-256"
    return data, ""


def _keep(name: str, packed: bytes) -> None:
    """Write into the cache, whole or not at all; a cache that cannot be written is no reason to fail."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / f"{name}.gz", lambda stream: stream.write(packed))
    except OSError as error:
        warnings.warn(f"npae could not keep {name} in {folder}: {error}", RuntimeWarning, stacklevel=2)


def cache_folder() -> Path:
    """Where downloads are kept: the platform's cache folder for this user, and in it `npae`."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "npae"
