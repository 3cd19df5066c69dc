"""Files that `npae.save` would not write: any header and any arrays, with a right digest around them.

So a test reaches the checks behind the digest.
"""

import hashlib
import io
import json
import re
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

import npae
from npae.storage import archive, models

X = np.random.default_rng(0).random((30, 6))


def members(whole):
    """The (name, bytes) pairs in a zip archive."""
    with zipfile.ZipFile(io.BytesIO(whole)) as data:
        return [(info.filename, data.read(info)) for info in data.infolist()]


def zipped(pairs, **options):
    """A zip archive of (name, bytes) pairs."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as new:
        for name, data in pairs:
            new.writestr(name, data)
    return out.getvalue()


def parts(whole):
    """The header and the arrays of a file, as plain NumPy and json read them."""
    with np.load(io.BytesIO(whole)) as data:
        header = json.loads(data["header.json"])
        return header, {name: data[name] for name in header["arrays"]}


def forge(header, arrays, sha256=None):
    """A file with this header (a text or JSON) and these arrays."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    digest = hashlib.sha256(text + b"".join(a.tobytes() for a in arrays.values()))
    files = [(f"{name}.npy", archive.npy_header(a.dtype, a.shape) + a.tobytes()) for name, a in arrays.items()]
    return zipped([("header.json", text), *files, ("sha256.txt", sha256 or digest.hexdigest())])


def fault(data, path):
    """The message with which load refuses the file; None if it takes it."""
    path.unlink(missing_ok=True)  # some file systems are slow to overwrite a file
    path.write_bytes(data)
    try:
        npae.load(path)
    except ValueError as error:
        return str(error)
    return None


def refused(data, path, match=""):
    """The file is refused, with a message that says what was expected, what came and what to do."""
    message = fault(data, path)
    assert message is not None
    form = rf"load expected a file written by npae\.save, got '.*' \(.*(?:{match}).*\): save the model again"
    assert re.match(form, message, re.DOTALL), message


def described(model):
    """All that a file keeps of a model."""
    contents, arrays = models._describe(model)
    return archive.header_text(contents, arrays), {name: a.tobytes() for name, a in arrays.items()}


def understood(data, path):
    """Whether load takes the file. Then the model works, and holds exactly what the file says."""
    if fault(data, path) is not None:
        return False
    model = npae.load(path)
    header, arrays = parts(data)
    again, bytes_again = described(model)
    assert json.dumps(header) == again.decode()
    assert bytes_again == {name: a.tobytes() for name, a in arrays.items()}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # X has no column names
        assert model.reconstruct(X).shape == X.shape
        model.score(X)
    return True


def peak(function, *arguments):
    """The largest number of bytes that are allocated at once."""
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refuses(forgeries):
    """A test that load refuses each of the forgeries of the AE: {kind: (change, message)}."""

    @pytest.mark.parametrize("kind", forgeries)
    def test(kind, wholes, path):
        change, match = forgeries[kind]
        refused(forge(*change(*parts(wholes["AE"]))), path, match)

    return test
