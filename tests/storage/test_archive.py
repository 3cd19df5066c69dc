"""A file is exactly a header and the arrays that it lists; every other file is refused, in little memory."""

import io
import json
import os
import pickle
import re
import struct
import zipfile

import numpy as np
import pytest
from changes import LOSS, SEEDS, W, at, with_array, with_value
from forgery import X, described, fault, forge, members, parts, peak, refused, refuses, understood, zipped
from hypothesis import given
from hypothesis import strategies as st

import npae
from npae.storage import archive

MUTANTS = 3  # of each example that hypothesis draws


def test_a_forged_file_of_the_same_contents_is_understood(wholes, path):
    for whole in wholes.values():
        assert understood(forge(*parts(whole)), path)


def test_a_file_of_this_version_stays_readable(path):
    """Whoever changes the format raises the version."""
    numbers = {"components": np.array([[0.0, 1.0]]), "explained_variance": np.array([2.0]),
               "explained_variance_ratio": np.array([0.75]), "mean": np.array([3.0, 4.0])}  # fmt: skip
    learned = {f"{name}_": {"array": name} for name in numbers} | {"n_features_in_": 2}
    header = {
        "format": "npae", "version": 3, "class": "PCA", "parameters": {"n_components": 1, "dtype": None},
        "learned": learned, "arrays": {k: {"dtype": "float64", "shape": list(a.shape)} for k, a in numbers.items()},
    }  # fmt: skip
    path.write_bytes(forge(header, numbers))
    assert npae.load(path).encode([[5.0, 6.0]]).tolist() == [[2.0]]
    assert archive.VERSION == 3


@pytest.mark.parametrize("dtype", archive.DTYPES)
def test_arrays_of_every_dtype_shape_and_order_come_back_aligned(dtype, path):
    arrays = {
        "point": np.array(7, dtype), "empty": np.zeros((0, 3), dtype), "fortran": np.arange(6).reshape(2, 3).T,
        "large": np.arange(600_000).reshape(600, 1000), "strided": np.arange(20)[::-2], "axes": np.ones((1,) * 64),
    }  # fmt: skip
    arrays = {name: a.astype(dtype, order="K") for name, a in arrays.items()}
    swapped = {f"{name}.swapped": a.astype(a.dtype.newbyteorder()) for name, a in arrays.items()}
    with open(path, "wb") as stream:
        archive.write(stream, {"x": [1, "é"]}, arrays | swapped)
    text, contents, back = archive.read(path)
    assert json.loads(text)["x"] == [1, "é"]
    assert contents == {"x": [1, "é"]}
    assert list(back) == [*arrays, *swapped]
    for name, a in (arrays | swapped).items():
        assert back[name].dtype == dtype
        assert back[name].dtype.isnative
        assert back[name].flags.c_contiguous
        np.testing.assert_array_equal(back[name], a)
    assert back["large"].__array_interface__["data"][0] % 64 == 0


def test_zip_programs_and_numpy_read_the_file(wholes):
    for whole in wholes.values():
        with zipfile.ZipFile(io.BytesIO(whole)) as data:
            assert data.testzip() is None
        header, arrays = parts(whole)
        with np.load(io.BytesIO(whole), allow_pickle=False) as data:
            assert data.files == ["header.json", *arrays, "sha256.txt"]
        assert header["arrays"] == {k: {"dtype": a.dtype.name, "shape": list(a.shape)} for k, a in arrays.items()}


# --- bytes -----------------------------------------------------------------------------------------------------


def refused_or_the_same(data, path, whole):
    """The file is refused, or it is another zip archive of the same members."""
    if fault(data, path) is None:
        model = npae.load(path)
        path.write_bytes(whole)
        assert described(model) == described(npae.load(path))


def test_no_byte_can_change_unnoticed_and_none_can_be_cut_off(tmp_path, path):
    npae.save(npae.PCA(1).fit(X[:, :2]), tmp_path / "small.npz")
    whole, rng = (tmp_path / "small.npz").read_bytes(), np.random.default_rng(0)
    for i in range(len(whole)):
        changed = bytearray(whole)
        changed[i] ^= rng.integers(1, 256)
        refused_or_the_same(bytes(changed), path, whole)
    for i in range(0, len(whole), 7):
        refused(whole[:i], path)


NUMBERS = [value.to_bytes(8, "little")[:n] for value in (1, 0x7FFFFFFF, 2**63, 2**64 - 1) for n in (1, 2, 4, 8)]


@st.composite
def mangled(draw, whole):
    """A file in which one to three stretches are replaced: by other bytes, a number, zeros, or a stretch elsewhere."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        i, j = (draw(st.integers(0, len(data))) for _ in range(2))
        n = draw(st.sampled_from([0, 1, 2, 4, 8, 30, 100, 1000, len(data)]))
        others = st.just(bytes(n)) | st.just(bytes(data[j : j + n]))
        data[i : i + n] = draw(st.binary(max_size=30) | st.sampled_from(NUMBERS) | others)
    return bytes(data)


@given(data=st.data())
def test_a_mangled_file_is_refused_or_holds_the_same(wholes, path, data):
    whole = wholes[data.draw(st.sampled_from(sorted(wholes)))]
    for _ in range(MUTANTS):
        refused_or_the_same(data.draw(mangled(whole)), path, whole)


def test_no_number_in_the_directory_can_lie(wholes, path):
    whole = wholes["PCA"]
    for i in range(whole.index(b"PK\1\2"), len(whole)):
        for other in (bytes(4), b"\xff" * 2, struct.pack("<I", len(whole))):
            refused_or_the_same(whole[:i] + other + whole[i + len(other) :], path, whole)


# --- members ---------------------------------------------------------------------------------------------------

ZIPS = {
    "deflated": (lambda m: zipped(m, compression=zipfile.ZIP_DEFLATED), "header.json is compressed"),
    "bzip2": (lambda m: zipped(m, compression=zipfile.ZIP_BZIP2), "header.json is compressed"),
    "lzma": (lambda m: zipped(m, compression=zipfile.ZIP_LZMA), "header.json is compressed"),
    "a member twice": (lambda m: zipped([*m, m[1]]), "members are not those"),
    "a member too many": (lambda m: zipped([*m[:-1], ("x.npy", m[1][1]), m[-1]]), "members are not those"),
    "a member missing": (lambda m: zipped([*m[:2], *m[3:]]), "members are not those"),
    "another order": (lambda m: zipped([*m[:1], m[2], m[1], *m[3:]]), "members are not those"),
    "no header": (lambda m: zipped(m[1:]), "does not begin with a header"),
    "no digest": (lambda m: zipped(m[:-1]), "members are not those"),
    "no members": (lambda m: zipped([]), "not enough values"),
    "an array in Fortran order": (
        lambda m: zipped([(name, d.replace(b"'fortran_order': False", b"'fortran_order': True ")) for name, d in m]),
        "npy header of components differs"),
    "an array of objects": (
        lambda m: zipped([(name, d.replace(b"'<f8'", b"'|O' ")) for name, d in m]), "npy header of .* differs"),
    "an array of another shape": (
        lambda m: zipped([(name, d.replace(b"(2, 6)", b"(6, 2)")) for name, d in m]), "npy header of .* differs"),
    "an array too long": (
        lambda m: zipped([(name, d + b"\0" * name.endswith(".npy")) for name, d in m]), "does not take the"),
    "an array too short": (
        lambda m: zipped([(name, d[:-1] if name.endswith(".npy") else d) for name, d in m]), "does not take the"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ZIPS)
def test_other_members_are_refused(kind, wholes, path):
    make, match = ZIPS[kind]
    refused(make(members(wholes["PCA"])), path, match)


def test_a_member_that_says_that_it_is_compressed_is_refused(wholes, path):
    whole = bytearray(wholes["PCA"])
    whole[whole.index(b"PK\1\2") + 10] = zipfile.ZIP_DEFLATED  # the method, in the directory alone
    refused(bytes(whole), path, "header.json is compressed")


def test_members_that_overlap_are_refused(wholes, path):
    whole = bytearray(zipped(members(wholes["PCA"])))
    first = whole.index(b"PK\1\2")
    second = whole.index(b"PK\1\2", first + 1)
    whole[second + 42 : second + 46] = bytes(4)  # where the second member begins
    refused(bytes(whole), path, "components.npy overlaps")


def test_changed_contents_under_an_old_digest_are_refused(wholes, path):
    for whole in wholes.values():
        (header, arrays), (_, sha256) = parts(whole), members(whole)[-1]
        assert understood(forge(header, arrays, sha256), path)
        name = list(arrays)[-1]
        other = arrays | {name: (arrays[name] + 1).astype(arrays[name].dtype)}
        refused(forge(header, other, sha256), path, "do not match their digest")
        header["parameters"]["verbose" if "verbose" in header["parameters"] else "n_components"] = 1
        refused(forge(header, arrays, sha256), path, "do not match their digest")


# --- headers -----------------------------------------------------------------------------------------------------

test_a_header_that_is_not_npaes_is_refused = refuses({
    "not JSON": (lambda h, a: (b"{", a), "delimiter|property name"),
    "not ASCII": (lambda h, a: ("{}é".encode(), a), "ascii"),
    "UTF-16": (lambda h, a: (json.dumps(h).encode("utf-16"), a), "ascii"),
    "a list": (lambda h, a: ([h], a), "not one of npae"),
    "another format": (with_value("format", value="onnx"), "not one of npae"),
    "a newer version": (with_value("version", value=4), "format version 4, this npae reads 3"),
    "an older version": (with_value("version", value=2), "format version 2, this npae reads 3"),
    "nested without end": (lambda h, a: (b"[" * 100_000 + b"]" * 100_000, a), "recursion"),
    "no list of arrays": (lambda h, a: ({k: v for k, v in h.items() if k != "arrays"}, {}), "KeyError: 'arrays'"),
    "an array not listed": (lambda h, a: (h, a | {"x": np.zeros(2)}), "members are not those"),
    "an array only listed": (lambda h, a: (h, dict(list(a.items())[:-1])), "members are not those"),
    "a name that leads elsewhere": (with_array("../x", np.zeros(2)), r"the name '\.\./x'"),
    "a name too long": (with_array("x" * 201, np.zeros(2)), "the name 'xxx"),
    "an array of terabytes": (with_value("arrays", W, "shape", value=[2**40, 2]), "does not take the"),
    "many axes of terabytes": (with_value("arrays", W, "shape", value=[1000] * 5), "does not take the"),
    "axes without end": (with_value("arrays", W, "shape", value=[18, *[1] * 64]), "has the shape"),
    "a negative shape": (with_value("arrays", W, "shape", value=[-6, -3]), "has the shape"),
    "a shape of booleans": (with_value("arrays", W, "shape", value=[True, 18]), "has the shape"),
    "a shape of fractions": (with_value("arrays", W, "shape", value=[6.0, 3]), "has the shape"),
    "a shape of words": (with_value("arrays", W, "shape", value="63"), "has the shape"),
    "objects": (with_value("arrays", W, "dtype", value="object"), "the dtype 'object'"),
    "complex numbers": (with_array("x", np.zeros(2, complex)), "the dtype 'complex128'"),
    "dates": (with_array("x", np.zeros(2, "M8[s]")), "the dtype 'datetime64"),
    "big-endian numbers": (with_value("arrays", W, "dtype", value=">f8"), "the dtype '>f8'"),
    "another dtype of the same size": (with_value("arrays", W, "dtype", value="int64"), "npy header of .* differs"),
    "a dtype that is none": (with_value("arrays", W, "dtype", value=[]), r"the dtype \[\]"),
})  # fmt: skip


# --- other files ---------------------------------------------------------------------------------------------------


def saved_by(writer):
    out = io.BytesIO()
    writer(out)
    return out.getvalue()


OTHERS = {
    "empty": (b"", "not a zip file"),
    "text": (b"not a model", "not a zip file"),
    "a pickle": (pickle.dumps(X), "not a zip file"),
    "an array": (saved_by(lambda out: np.save(out, X)), "not a zip file"),
    "another npz": (saved_by(lambda out: np.savez(out, X=X)), "does not begin with a header"),
    "an npz of objects": (saved_by(lambda out: np.savez(out, header=np.array([{}]))), "does not begin with a header"),
    "a directory before the beginning": (b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 1, 1, 500, 0, 0), "Bad offset"),
    "an end before the beginning": (b"PK\6\7" + bytes(12) + b"\1\0\0\0PK\5\6" + bytes(18), "not a zip|not enough"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_that_is_no_model_is_refused(kind, path):
    data, match = OTHERS[kind]
    refused(data, path, match)


@pytest.mark.parametrize("place", [None, 3, 1.5, b"\0", "a\0b", ["x"]])
def test_an_argument_that_is_no_path_is_a_value_error(place):
    with pytest.raises(ValueError, match=r"load expected a file written by npae\.save, got "):
        npae.load(place)


def test_a_file_that_cannot_be_read_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        npae.load(tmp_path / "nowhere.npz")
    with pytest.raises(OSError, match=str(tmp_path)):
        npae.load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_a_device_and_a_pipe_are_refused_unread(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for endless in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match="a device or a pipe"):
            npae.load(endless)


# --- memory ----------------------------------------------------------------------------------------------------------


def huge_member(size):
    """A file whose first member claims that size in the directory."""
    whole = bytearray(zipped([("header.json", b"{}"), ("sha256.txt", b"")]))
    entry = whole.index(b"PK\1\2")
    whole[entry + 20 : entry + 28] = struct.pack("<2I", size, size)
    return bytes(whole)


def huge_array(whole, *shape):
    """A file that claims an array of that shape."""
    header, arrays = parts(whole)
    at(header, ("arrays", W))["shape"] = shape
    return forge(header, arrays)


def huge_array_behind_which_the_digest_lies(whole):
    """A file that claims an array of 1 GiB everywhere, and a digest 2 GiB from the start."""
    header, arrays = parts(whole)
    header["arrays"][list(arrays)[-1]]["shape"] = [2**27]
    data = bytearray(forge(header, arrays))
    *_, array, digest = (match.start() for match in re.finditer(b"PK\1\2", data))
    size = len(archive.npy_header(np.dtype(float), (2**27,))) + 2**30
    data[array + 20 : array + 28] = struct.pack("<2I", size, size)
    data[digest + 42 : digest + 46] = struct.pack("<I", 2**31)
    return bytes(data)


BOMBS = {
    "zeros, deflated": lambda whole: saved_by(
        lambda out: np.savez_compressed(out, header=np.zeros(30_000_000, np.uint8))),
    "a header of gigabytes": lambda whole: huge_member(2**32 - 2),
    "many small members": lambda whole: zipped([(str(i), b"") for i in range(3000)]),
    "an array of terabytes": lambda whole: huge_array(whole, 2**20, 2**20),
    "an array of a gigabyte, as all sizes say": huge_array_behind_which_the_digest_lies,
    "an array of many large axes": lambda whole: huge_array(whole, *[5000] * 4),
    "an array of more bytes than can be counted": lambda whole: huge_array(whole, *[5000] * 64),
    "an empty array of large axes": lambda whole: huge_array(whole, 0, 5000, 5000, 5000, 5000, 5000, 5000),
    "brackets": lambda whole: forge(b"[" + b"[]," * 100_000 + b"[]]", {}),
    "a pool of seeds": lambda whole: forge(*with_value(*SEEDS, "pool_size", value=10**12)(*parts(whole))),
    "windows of a large image": lambda whole: forge(
        *with_value(*LOSS, "SSIM", "image_shape", value={"tuple": [10**6, 10**6]})(*parts(whole))),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_in_the_memory_of_its_file(kind, wholes, path):
    data = BOMBS[kind](wholes["AE"])
    refused(data, path)  # once before, so that imports and caches do not count
    assert len(data) < 400_000
    assert peak(refused, data, path) < 30 * len(data) + 1_000_000


def test_a_header_longer_than_any_header_is_refused_unread(path, monkeypatch):
    monkeypatch.setattr(archive, "HEADER_BYTES", 10_000)
    refused(forge(b" " * 10_001, {}), path, "header.json of at most 10000 bytes")
    refused(forge(b" " * 10_000, {}), path, "Expecting value")


def test_a_model_is_loaded_in_a_few_times_the_memory_of_its_file(tmp_path):
    model = npae.AE((500,), 20, epochs=0).fit(np.zeros((2, 700), np.float32))
    npae.save(model, tmp_path / "model.npz")
    size = os.path.getsize(tmp_path / "model.npz")
    assert size > 2_800_000
    npae.load(tmp_path / "model.npz")
    assert peak(npae.load, tmp_path / "model.npz") < 6 * size
    assert peak(npae.save, model, tmp_path / "model.npz") < 0.5 * size


def test_a_header_of_the_worst_kind_takes_sixty_times_its_memory(wholes, path):
    header, arrays = with_value("learned", "user_", value=[[]] * 50_000)(*parts(wholes["PCA"]))
    path.write_bytes(forge(header, arrays))
    assert npae.load(path).user_ == [[]] * 50_000
    assert peak(npae.load, path) < 60 * os.path.getsize(path)
