"""An archive: a JSON header and named arrays in one `.npz` file, of which every byte is accounted for.

It is a zip archive of `.npy` files, none of them compressed, so `np.load` reads it:

    header.npy      the header's text: format, version, what the caller says, dtype and shape of every array
    <name>.npy      each array, in the header's order: little-endian, C order
    sha256.npy      SHA-256 of the header's text and of the arrays' bytes, one after the other

For the same contents there is one such file and no other: no dates, no choices. So `read` need not believe what a file
says of itself, or even understand it. It takes the header's text, works out which bytes must stand where, and
compares. A shape is held against the bytes that are there before any memory is set aside for it; nothing is ever
decompressed or evaluated.

The digest finds accidents, and changes by those who do not compute it anew. It is no signature: it does not say who
wrote the file.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import struct
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from npae.arrays import Array, aligned

FORMAT, VERSION = "npae", 2
HEADER_BYTES = 1 << 24  # what JSON takes in memory is many times its text, so the text has a bound
DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]

NAME = re.compile(r"[A-Za-z0-9_.]{1,200}")

_AXES = 64  # NumPy's own bound
_OWN = ("header", "sha256")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # "see the 64-bit field": sizes stand there alone, however small


def write(stream: BinaryIO, contents: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write the archive of `contents`, which is plain JSON, and `arrays`.

    Raises ValueError if the header is too long, or a name or dtype is none that an archive can hold.
    """
    plain = {name: np.asarray(a, a.dtype.newbyteorder("<"), order="C") for name, a in arrays.items()}
    for name, a in plain.items():
        _check(name, a.dtype.name)
    text = header_text(contents, plain)
    if len(text) > HEADER_BYTES:
        raise ValueError(
            f"save expected a header of at most {HEADER_BYTES} bytes, got {len(text)}: give columns shorter names, "
            "or keep only the last epochs in each list of model.history_."
        )
    digest = _digest()
    digest.update(text)
    for a in plain.values():
        digest.update(a.data)
    frame = _Frame()
    header, sha256 = (np.frombuffer(data, np.uint8) for data in (text, digest.digest()))
    for name, a in {"header": header, **plain, "sha256": sha256}.items():
        stream.write(frame.before(name, a))
        stream.write(a.data)
    stream.write(frame.end())


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Array]]:
    """The contents and the arrays of the archive at `path`.

    Raises
    ------
    ValueError
        If the file is not, byte for byte, what `write` would write for these contents.
    OSError
        If there is no such file or it cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):  # which `open` refuses
        raise ValueError("a device or a pipe, which has no end to look at first")
    with open(path, "rb") as stream:
        size, frame = os.fstat(stream.fileno()).st_size, _Frame()
        header, text_size = _find_header(stream, size)
        digest = _digest()

        def member(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
            """The array that must come next."""
            start = stream.read(frame.size_before(name, dtype, shape))
            if math.prod(shape) * dtype.itemsize > size - stream.tell():
                raise ValueError(f"{name} of shape {shape}, of which not all is there")
            a = aligned(shape, dtype.newbyteorder("<"))
            stream.readinto(a.data)
            if start != frame.before(name, a):
                raise ValueError(f"{name}, of which a byte has changed")
            if name != "sha256":
                digest.update(a.data)
            return a.astype(dtype, copy=False)

        stream.seek(0)
        text = member("header", np.dtype(np.uint8), (text_size,)).tobytes()
        arrays = {name: member(name, *entry) for name, entry in _listed(header, size).items()}
        if member("sha256", np.dtype(np.uint8), (digest.digest_size,)).tobytes() != digest.digest():
            raise ValueError("contents of another digest (SHA-256) than theirs")
        end = frame.end()
        if stream.read(len(end) + 1) != end:
            raise ValueError("another directory at its end than that of its arrays")
    contents = {key: value for key, value in header.items() if key not in ("format", "version", "arrays")}
    if header_text(contents, arrays) != text:
        raise ValueError("a header that is spelled otherwise than npae.save does")
    return contents, arrays


def header_text(contents: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """The header as JSON in ASCII: the only spelling that `read` takes."""
    listed = {name: {"dtype": a.dtype.name, "shape": list(a.shape)} for name, a in arrays.items()}
    header = {"format": FORMAT, "version": VERSION, **contents, "arrays": listed}
    return json.dumps(header, allow_nan=False).encode("ascii")


def _digest() -> Any:
    """A SHA-256, so far of nothing."""
    import hashlib  # brings OpenSSL, a tenth of what importing npae takes: not for those who neither save nor load

    return hashlib.sha256()


def _find_header(stream: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The header and the size of its text, in a file that may be of any version, or none of ours."""
    name, one = b"header.npy", np.dtype(np.uint8)
    start = stream.read(_Frame().size_before("header", one, (0,)))
    npy = len(_npy(one, (0,)))
    if start[:4] != b"PK\3\4" or start[30 : 30 + len(name)] != name:
        raise ValueError("no header at its beginning")
    text_size = int.from_bytes(start[-npy - 8 : -npy], "little") - npy
    if not 0 <= text_size <= min(HEADER_BYTES, size - stream.tell()):
        raise ValueError("a header longer than the file, or than any header")
    try:
        header = json.loads(stream.read(text_size).decode("ascii"))
    except RecursionError:
        raise ValueError("a header that is nested without end") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError("a header that is not of npae's format")
    if header.get("version") != VERSION:
        raise ValueError(f"format version {header.get('version')!r:.20}, while this npae reads version {VERSION}")
    return header, text_size


def _listed(header: dict[str, Any], size: int) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """The dtype and shape of every array that the header of a file of `size` bytes lists."""
    listed = {}
    if not isinstance(header.get("arrays"), dict):
        raise ValueError("a header that lists no arrays")
    for name, entry in header["arrays"].items():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or len(shape) > _AXES:
            raise ValueError(f"{name:.200} without a shape")
        if not all(type(n) is int and 0 <= n <= size for n in shape):
            raise ValueError(f"{name:.200} of a shape that the file has no room for")
        _check(name, entry.get("dtype"))
        listed[name] = np.dtype(entry["dtype"]), tuple(shape)
    return listed


def _check(name: str, dtype: Any) -> None:
    if not NAME.fullmatch(name) or name in _OWN:
        raise ValueError(f"an array of the name {name!r:.200}")
    if dtype not in DTYPES:
        raise ValueError(f"{name} of dtype {dtype!r:.200}")


class _Frame:
    """What stands in a zip archive around the arrays: it follows from their names, shapes and bytes.

    Source: PKWARE, "APPNOTE.TXT, .ZIP File Format Specification" 6.3, sections 4.3 to 4.5.
    """

    def __init__(self) -> None:
        self._directory: list[bytes] = []
        self._offset = 0

    def before(self, name: str, a: Array) -> bytes:
        """The bytes before those of `a`, the next array."""
        npy, file = _npy(a.dtype, a.shape), f"{name}.npy".encode("ascii")
        size, checksum = len(npy) + a.nbytes, zlib.crc32(a.data, zlib.crc32(npy))
        # Version 4.5 or later, no flags, stored, midnight of 1 January 1980.
        common = struct.pack("<5H3IH", 45, 0, 0, 0, 1 << 5 | 1, checksum, _FULL32, _FULL32, len(file))
        extra = struct.pack("<2H2Q", 1, 16, size, size)
        local = b"PK\3\4" + common + struct.pack("<H", len(extra)) + file + extra
        extra = struct.pack("<2H3Q", 1, 24, size, size, self._offset)
        more = struct.pack("<4H2I", len(extra), 0, 0, 0, 0, _FULL32)
        self._directory.append(b"PK\1\2" + struct.pack("<H", 45) + common + more + file + extra)
        self._offset += len(local) + size
        return local + npy

    def size_before(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
        """How many they are."""
        return 30 + len(name) + len(".npy") + 20 + len(_npy(dtype, shape))

    def end(self) -> bytes:
        """The bytes after the last array: the directory."""
        directory, n = b"".join(self._directory), len(self._directory)
        end = self._offset + len(directory)
        return b"".join(
            [
                directory,
                b"PK\6\6" + struct.pack("<Q2H2I4Q", 44, 45, 45, 0, 0, n, n, len(directory), self._offset),
                b"PK\6\7" + struct.pack("<IQI", 0, end, 1),
                b"PK\5\6" + struct.pack("<4H2IH", 0, 0, _FULL16, _FULL16, _FULL32, _FULL32, 0),
            ]
        )


def _npy(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """What stands in a `.npy` file before an array's bytes (format 1.0, see `numpy.lib.format`)."""
    descr = dtype.newbyteorder("<").str
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    size = -(-(10 + len(text) + 1) // 64) * 64 - 10
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", size) + text.ljust(size - 1).encode("ascii") + b"\n"
