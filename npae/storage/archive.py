"""Archives: a JSON header and named arrays in one uncompressed `.npz` file.

    header.json     JSON: format, version, the caller's contents, and the dtype and shape of every array
    <name>.npy      each array in the header's order, little-endian, in C order
    sha256.txt      SHA-256 of header.json and of the arrays' bytes, in hexadecimal

The reader trusts no size in a file: it compares each with the size of the file before it allocates memory. It
decompresses and evaluates nothing. The digest finds accidental changes. It is not a signature: anyone can compute
the digest of other contents.

Source: PKWARE, "APPNOTE.TXT, .ZIP File Format Specification" 6.3; the `.npy` format 1.0 in `numpy.lib.format`.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from npae.kernels.arrays import Array, aligned

FORMAT, VERSION = "npae", 3
HEADER_BYTES = 1 << 24  # parsed JSON takes many times the memory of its text
DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]
NAME = re.compile(r"[A-Za-z0-9_.]{1,200}")
MAX_AXES = 64  # NumPy's own limit
CHUNK = 1 << 18  # bytes that are copied at once


def write(stream: BinaryIO, contents: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write an archive of `contents`, which is plain JSON, and `arrays`, whose names match `NAME`.

    Raises ValueError if the header is longer than `HEADER_BYTES`.
    """
    import hashlib  # here and below: slow to import, and only needed by those who save or load
    import zipfile

    arrays = {name: np.asarray(a, a.dtype.newbyteorder("<"), order="C") for name, a in arrays.items()}
    header = header_text(contents, arrays)
    if len(header) > HEADER_BYTES:
        raise ValueError(
            f"save expected a header of at most {HEADER_BYTES} bytes, got {len(header)}: give columns shorter names, "
            "or keep only the last epochs in each list of model.history_."
        )
    digest = hashlib.sha256(header)
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("header.json"), header)
        for name, a in arrays.items():
            digest.update(a.data)
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                member.write(npy_header(a.dtype, a.shape))
                member.write(a.data)
        archive.writestr(zipfile.ZipInfo("sha256.txt"), digest.hexdigest())


def read(path: str | os.PathLike[str]) -> tuple[bytes, dict[str, Any], dict[str, Array]]:
    """The header's text, the contents in it, and the arrays of the archive at `path`.

    Raises
    ------
    OSError
        If the file cannot be read.
    Exception
        Of any other kind if the file is not an archive of this version.
    """
    import hashlib
    import zipfile

    if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):  # `open` refuses a folder
        raise ValueError("it is a device or a pipe, not a regular file")
    with open(path, "rb") as stream, zipfile.ZipFile(stream) as archive:
        _check_members(archive.infolist(), os.fstat(stream.fileno()).st_size)
        first, *others = archive.infolist()
        if first.filename != "header.json" or first.file_size > HEADER_BYTES:
            raise ValueError(f"it does not begin with a header.json of at most {HEADER_BYTES} bytes")
        text = archive.read(first)
        header = json.loads(text.decode("ascii"))
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise ValueError("its header is not one of npae")
        if header.get("version") != VERSION:
            raise ValueError(f"it has format version {header.get('version')!r:.20}, this npae reads {VERSION}")
        listed, digest, arrays = header["arrays"], hashlib.sha256(text), {}
        if [member.filename for member in others] != [*(f"{name}.npy" for name in listed), "sha256.txt"]:
            raise ValueError("its members are not those that the header lists")
        for (name, spec), member in zip(listed.items(), others, strict=False):
            dtype, shape = _checked(name, spec["dtype"], spec["shape"], member.file_size)
            a = aligned(shape, dtype.newbyteorder("<"))
            memory, start = a.reshape(-1).view(np.uint8), npy_header(dtype, shape)
            with archive.open(member) as source:
                if source.read(len(start)) != start:
                    raise ValueError(f"the .npy header of {name} differs from header.json")
                for i in range(0, a.nbytes, CHUNK):
                    memory[i : i + CHUNK] = np.frombuffer(source.read(CHUNK), np.uint8)
            digest.update(a.data)
            arrays[name] = a.astype(dtype, copy=False)
        if archive.read(others[-1]) != digest.hexdigest().encode():
            raise ValueError("its contents do not match their digest (SHA-256)")
    return text, {k: v for k, v in header.items() if k not in ("format", "version", "arrays")}, arrays


def header_text(contents: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """The header as JSON in ASCII."""
    listed = {name: {"dtype": a.dtype.name, "shape": list(a.shape)} for name, a in arrays.items()}
    header = {"format": FORMAT, "version": VERSION, **contents, "arrays": listed}
    return json.dumps(header, allow_nan=False).encode("ascii")


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The bytes before an array's own in a `.npy` file: the same for every version of NumPy."""
    descr = dtype.newbyteorder("<").str
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    size = -(-(10 + len(text) + 1) // 64) * 64 - 10  # the array begins at a multiple of 64 bytes
    return b"\x93NUMPY\x01\x00" + size.to_bytes(2, "little") + text.ljust(size - 1).encode("ascii") + b"\n"


def _check_members(members: list[Any], size: int) -> None:
    """Raise unless the members are stored one after the other, uncompressed, in a file of `size` bytes."""
    end = 0
    for member in members:
        if member.compress_type != 0:  # ZIP_STORED
            raise ValueError(f"{member.filename:.200} is compressed")
        if member.header_offset < end:
            raise ValueError(f"{member.filename:.200} overlaps the member before it")
        end = member.header_offset + member.file_size
    if end > size:
        raise ValueError("a member is longer than the file")


def _checked(name: str, dtype: Any, shape: Any, size: int) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """The dtype and shape of an array, which its .npy file of `size` bytes holds exactly."""
    if not NAME.fullmatch(name) or dtype not in DTYPES:
        raise ValueError(f"an array has the name {name!r:.200} and the dtype {dtype!r:.200}")
    if len(shape) > MAX_AXES or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"{name} has the shape {shape!r:.200}")
    dtype, shape = np.dtype(dtype), tuple(shape)
    if size != len(npy_header(dtype, shape)) + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} of shape {shape!r:.200} does not take the {size} bytes that are there")
    return dtype, shape
