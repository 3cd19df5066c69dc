"""A file of any content is refused with a ValueError that says why, in little memory, or it is exactly what save wrote.

`forge` puts any header and any arrays into a file with the right sums and the right digest, so that the checks behind
these are put to the test as well.
"""

import copy
import hashlib
import io
import json
import os
import re
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

import npae
from npae import archive, persistence

X = np.random.default_rng(0).random((30, 6))
MUTANTS = 3  # of each example that hypothesis draws


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    """Files of three models, with all that a file can hold."""
    pca = npae.PCA(2).fit(X)
    pca.feature_names_in_ = np.array(list("abcdef"), object)
    encoder = npae.Sequential(npae.Dense(6, 3, dtype=np.float64, rng=0), npae.ELU(0.7))
    decoder = npae.Sequential(npae.LeakyReLU(0.2), npae.Dense(3, 6, dtype=np.float64, rng=1))
    ae = npae.AE(
        encoder=encoder, decoder=decoder, epochs=1, loss=npae.SSIM((2, 3), window=2), patience=1,
        optimizer=npae.Adam(npae.Cosine(0.1)), random_state=np.random.Generator(np.random.Philox(3)),
    ).fit(X, validation=X)  # fmt: skip
    ae.training_.noise_rng = np.random.Generator(np.random.MT19937(1))
    dae = npae.DAE((4,), 2, epochs=1, corruption=npae.GaussianNoise(0.1, clip=(0, 1)), dtype=np.float32, random_state=0)
    files = {}
    for name, model in {"PCA": pca, "AE": ae, "DAE": dae.fit(X)}.items():
        path = tmp_path_factory.mktemp("wholes") / "model.npz"
        npae.save(model, path)
        files[name] = path.read_bytes()
    return files


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("files") / "model.npz"


def parts(whole):
    """The header and the arrays of a file, as plain NumPy reads it."""
    with np.load(io.BytesIO(whole)) as data:
        arrays = {name: data[name] for name in data.files}
    del arrays["sha256"]
    return json.loads(arrays.pop("header").tobytes()), arrays


def forge(header, arrays, sha256=None):
    """A file with this header, a text or JSON, and these (name, array) pairs, whose sums and digest are right."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    digest, frame, out = hashlib.sha256(text), archive._Frame(), io.BytesIO()
    pairs = list(arrays.items() if isinstance(arrays, dict) else arrays)
    for _, a in pairs:
        digest.update(a.tobytes())
    ends = [np.frombuffer(data, np.uint8) for data in (text, sha256 or digest.digest())]
    for name, a in [("header", ends[0]), *pairs, ("sha256", ends[1])]:
        out.write(frame.before(name, np.ascontiguousarray(a)) + a.tobytes())
    return out.getvalue() + frame.end()


def fault(data, path):
    """What load says of such a file; None if it takes it."""
    path.unlink(missing_ok=True)  # some file systems are slow to write over a file
    path.write_bytes(data)
    try:
        npae.load(path)
    except ValueError as error:
        return str(error)
    return None


def refused(data, path, match=""):
    said = fault(data, path)
    assert said is not None
    whole = (
        rf"load expected a file written by npae\.save, got '.*' with a fault \(.*(?:{match}).*\): save the model again"
    )
    assert re.match(whole, said, re.DOTALL), said


def test_a_forged_file_of_the_same_content_is_the_file(wholes):
    for whole in wholes.values():
        assert forge(*parts(whole)) == whole


def test_the_form_of_the_file_is_the_same_for_ever():
    """Files are kept: whoever changes what is pinned here counts the version up."""
    out = io.BytesIO()
    archive.write(out, {"class": "PCA"}, {"x": np.arange(3.0), "y": np.ones((2, 1), np.float32)})
    assert archive.VERSION == 2
    assert (
        hashlib.sha256(out.getvalue()).hexdigest() == "29d3456603c6d3e84569889898cfb9756f9806ea1eabd8e7c3f9fdd71c3b5aa0"
    )


def test_what_changed_under_an_old_digest_is_refused(wholes, path):
    for whole in wholes.values():
        with np.load(io.BytesIO(whole)) as data:
            sha256 = data["sha256"].tobytes()
        header, arrays = parts(whole)
        assert forge(header, arrays, sha256) == whole
        name = list(arrays)[-1]
        other = arrays | {name: (arrays[name] + 1).astype(arrays[name].dtype)}
        refused(forge(header, other, sha256), path, "another digest")
        header["parameters"]["verbose" if "verbose" in header["parameters"] else "n_components"] = 1
        refused(forge(header, arrays, sha256), path, "another digest")


# --- bytes -----------------------------------------------------------------------------------------------------


def test_no_byte_can_change_and_none_can_be_cut_off(tmp_path, path):
    npae.save(npae.PCA(1).fit(X[:, :2]), tmp_path / "small.npz")
    whole, rng = (tmp_path / "small.npz").read_bytes(), np.random.default_rng(0)
    for i in range(len(whole)):
        changed = bytearray(whole)
        changed[i] ^= rng.integers(1, 256)
        refused(bytes(changed), path)
    for i in range(0, len(whole), 7):
        refused(whole[:i], path)
    refused(whole + b"\0", path)
    refused(b"\0" + whole, path)


@st.composite
def mangled(draw, whole):
    """A file with some bytes flipped, cut out, put in, moved or zeroed."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["flip", "cut", "insert", "move", "zero", "truncate", "number"]))
        i = draw(st.integers(0, len(data) - 1)) if data else 0
        n = draw(st.sampled_from([1, 2, 4, 8, 30, 100, 1000]))
        if kind == "flip" and data:
            data[i] ^= 1 << draw(st.integers(0, 7))
        if kind == "cut":
            del data[i : i + n]
        if kind == "insert":
            data[i:i] = draw(st.binary(min_size=1, max_size=n))
        if kind == "move":
            piece = data[i : i + n]
            del data[i : i + n]
            j = draw(st.integers(0, len(data)))
            data[j:j] = piece
        if kind == "zero":
            data[i : i + n] = bytes(len(data[i : i + n]))
        if kind == "truncate":
            del data[i:]
        if kind == "number":
            value = draw(st.sampled_from([0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63, 2**64 - 1]))
            data[i : i + 8] = struct.pack("<Q", value)[: max(1, min(8, n))]
    return bytes(data)


@given(data=st.data())
def test_a_mangled_file_is_refused_or_is_the_file(wholes, path, data):
    whole = wholes[data.draw(st.sampled_from(sorted(wholes)))]
    for _ in range(MUTANTS):
        mutant = data.draw(mangled(whole))
        if mutant != whole:
            refused(mutant, path)


# --- the directory of the zip archive ----------------------------------------------------------------------------


def rezipped(whole, change):
    """The same members by way of Python's zipfile."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(out, "w") as new:
        change(new, [(info.filename, old.read(info)) for info in old.infolist()])
    return out.getvalue()


def copied_by(**options):
    def change(new, members):
        for name, data in members:
            new.writestr(name, data, **options)

    return change


def twice(new, members):
    copied_by()(new, [*members, members[1]])


ZIPS = {
    "stored, but otherwise": copied_by(),
    "deflated": copied_by(compress_type=zipfile.ZIP_DEFLATED),
    "bzip2": copied_by(compress_type=zipfile.ZIP_BZIP2),
    "lzma": copied_by(compress_type=zipfile.ZIP_LZMA),
    "a name twice": twice,
    "backwards": lambda new, members: copied_by()(new, members[::-1]),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ZIPS)
def test_another_archive_of_the_same_arrays_is_refused(kind, wholes, path):
    refused(rezipped(wholes["PCA"], ZIPS[kind]), path)


def fields(whole):
    """(offset, size) of every field of the records in the directory and at its end."""
    place = whole.index(b"PK\1\2")
    while whole[place : place + 4] == b"PK\1\2":
        name, _ = struct.unpack_from("<2H", whole, place + 28)
        sizes = [4, 2, 2, 2, 2, 2, 2, 4, 4, 4, 2, 2, 2, 2, 2, 4, 4, name, 2, 2, 8, 8, 8]
        for size in sizes:
            yield place, size
            place += size
    for size in [4, 8, 2, 2, 4, 4, 8, 8, 8, 8, 4, 4, 8, 4, 4, 2, 2, 2, 2, 4, 4, 2]:
        yield place, size
        place += size
    assert place == len(whole)


def test_no_field_of_the_directory_can_say_anything_else(wholes, path):
    whole = wholes["PCA"]
    for place, size in fields(whole):
        for value in (0, 1, len(whole), 256**size - 1):
            mutant = bytearray(whole)
            mutant[place : place + size] = (value % 256**size).to_bytes(size, "little")
            if mutant != whole:
                refused(bytes(mutant), path)


def test_members_that_overlap_are_refused(wholes, path):
    whole = wholes["PCA"]
    offsets = [place for place, size in fields(whole) if size == 8][2:-8:3]  # the third 8-byte field of each entry
    mutant = bytearray(whole)
    for place in offsets:
        mutant[place : place + 8] = bytes(8)
    with zipfile.ZipFile(io.BytesIO(mutant)) as overlapping:
        assert {info.header_offset for info in overlapping.infolist()[:-1]} == {0}
    refused(bytes(mutant), path)


# --- headers -----------------------------------------------------------------------------------------------------


def places(node, inside=()):
    """Every place in a JSON value."""
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield (*inside, key)
        yield from places(node[key], (*inside, key))


def at(node, place):
    for key in place:
        node = node[key]
    return node


VALUES = [
    None, True, False, 0, 1, 2, -1, 5, 624, 625, 2**31, 2**63, 2**64, 2**128, 10**100, 0.5, -0.5, 1e300, "", "x", "inf",
    "network.0.0.W", "components_", "float64", "object", "mse", "AE", "PCA", "MT19937", "PCG64", "history_",
    [], {}, [[]], [0], [1.5], ["a"], {"": 0}, {"array": "components_"}, {"float": "nan"}, {"float": 0}, {"tuple": []},
    {"tuple": {}}, {"list": []}, {"dict": {}}, {"dtype": "float64"}, {"dtype": "object"}, {"strings": []},
    {"strings": "ab"}, {"strings": [1]}, {"same as": "history_"}, {"same as": []}, {"Generator": {}}, {"Dense": []},
    {"Sequential": []}, {"Sequential": [{"ReLU": []}]}, {"ReLU": []}, {"ELU": [-1]}, {"ELU": ["x"]}, {"LeakyReLU": []},
    {"MSE": {}}, {"MSE": []}, {"BCE": {}}, {"SSIM": {}}, {"Adam": {"learning_rate": -1}}, {"Cosine": {"start": 0.1}},
    {"History": {}}, {"History": {"loss": 3}}, {"State": {"done": 0, "steps": None, "moments": [], "numbers": []}},
    {"os.system": ["true"]},
]  # fmt: skip


@st.composite
def altered(draw, header):
    """A header with one to three places changed, removed, renamed, added to, or exchanged."""
    header = copy.deepcopy(header)
    for _ in range(draw(st.integers(1, 3))):
        every = list(places(header))
        place = draw(st.sampled_from(every))
        *above, key = place
        parent, kind = at(header, above), draw(st.sampled_from(["set", "remove", "add", "rename", "copy", "number"]))
        if kind == "set":
            parent[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        if kind == "remove":
            del parent[key]
        if kind == "add":
            value = copy.deepcopy(draw(st.sampled_from(VALUES)))
            if isinstance(parent, list):
                parent.insert(key, value)
            else:
                parent[draw(st.sampled_from(["x", "", "mine_", "fit", "score_", "__class__", "encoder_", "W"]))] = value
        if kind == "rename" and isinstance(parent, dict):
            parent[draw(st.sampled_from(["x", *parent]))] = parent.pop(key)
        if kind == "copy":
            parent[key] = copy.deepcopy(at(header, draw(st.sampled_from(every))))
        if kind == "number" and type(parent[key]) in (int, float):
            parent[key] = draw(st.sampled_from([parent[key] + 1, -parent[key], parent[key] * 1.5, float(parent[key])]))
    return header


@st.composite
def swapped(draw, arrays):
    """Arrays of which one is another: missing, of another name, shape, dtype or content, or one too many."""
    arrays, name = dict(arrays), draw(st.sampled_from(sorted(arrays)))
    a = arrays[name]
    kind = draw(
        st.sampled_from(["drop", "rename", "add", "cut", "turn", "flat", "empty", "cast", "nan", "other", "none"])
    )
    if kind in ("drop", "rename"):
        del arrays[name]
    if kind in ("rename", "add"):
        arrays[draw(st.sampled_from(["x", "network.9.9.W", "mine_", "header.", "parameters.hidden"]))] = a
    new = {
        "cut": lambda: a[:-1], "turn": lambda: a.T, "flat": lambda: a.reshape(1, -1), "empty": lambda: a[:0],
        "cast": lambda: a.astype(draw(st.sampled_from(archive.DTYPES))), "other": lambda: (a + 1).astype(a.dtype),
        "nan": lambda: np.where(np.arange(a.size).reshape(a.shape) == 0, np.nan, a).astype(a.dtype),
    }.get(kind)  # fmt: skip
    if new and a.size:
        with np.errstate(all="ignore"):
            arrays[name] = np.ascontiguousarray(new())
    return arrays


def verdict(data, path, whole):
    """Refused, or loaded; then it is a model that works and of which save writes the very same file."""
    if fault(data, path) is not None:
        return "refused"
    model, again = npae.load(path), io.BytesIO()
    persistence._check(model)
    archive.write(again, *persistence._described(model))
    assert again.getvalue() == data
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # X has no names
        assert model.reconstruct(X).shape == X.shape
        model.score(X)
    return "the same" if data == whole else "another model, understood"


@given(data=st.data())
def test_a_forged_file_is_refused_or_understood_to_the_last_letter(wholes, path, data):
    whole = wholes[data.draw(st.sampled_from(sorted(wholes)))]
    header, arrays = parts(whole)
    for _ in range(MUTANTS):
        new_header, new_arrays = header, arrays
        if data.draw(st.booleans()):
            new_header = data.draw(altered(header))
        if new_header is header or data.draw(st.integers(0, 3)) == 0:
            new_arrays = data.draw(swapped(arrays))
        if new_arrays is not arrays and data.draw(st.booleans()):  # else the header lists other ones
            listed = {k: {"dtype": a.dtype.name, "shape": list(a.shape)} for k, a in new_arrays.items()}
            new_header = new_header | {"arrays": listed}
        event(verdict(forge(new_header, new_arrays), path, whole))


@pytest.mark.parametrize("name", ["PCA", "AE", "DAE"])
def test_a_header_with_one_place_left_out_or_empty_is_refused_or_understood(name, wholes, path):
    header, arrays = parts(wholes[name])
    for place in list(places(header)):
        for value in ("left out", None, {}):
            other = copy.deepcopy(header)
            if value == "left out":
                del at(other, place[:-1])[place[-1]]
            else:
                at(other, place[:-1])[place[-1]] = value
            verdict(forge(other, arrays), path, wholes[name])


def spelled(old, new):
    """The header's text with a piece replaced."""

    def change(header, arrays):
        text = json.dumps(header)
        assert text.count(old) == 1
        return text.replace(old, new).encode(), arrays

    return change


def with_value(*place, value):
    def change(header, arrays):
        at(header, place[:-1])[place[-1]] = value
        return header, arrays

    return change


def with_array(name, a):
    """The array in place of the other, listed as it is."""

    def change(header, arrays):
        header["arrays"][name] = {"dtype": a.dtype.name, "shape": list(a.shape)}
        return header, arrays | {name: a}

    return change


def without(name, header, arrays):
    return (
        header | {"arrays": {k: v for k, v in header["arrays"].items() if k != name}},
        {k: a for k, a in arrays.items() if k != name},
    )


STATE = ("parameters", "random_state", "Generator", "state", "dict")
SEEDS = ("parameters", "random_state", "Generator", "seed_sequence", "dict")
TWISTER = ("learned", "training_", "Training", "noise_rng", "Generator", "state", "dict", "state", "dict")
HISTORY, LOSS = ("learned", "history_", "History"), ("learned", "loss_", "SSIM")
LAYERS = ("learned", "network_", "Sequential")
FORGERIES = {
    "no JSON": (lambda h, a: (b"{", a), "delimiter|property name"),
    "no ASCII": (lambda h, a: ("{}é".encode(), a), "ascii"),
    "UTF-16": (lambda h, a: (json.dumps(h).encode("utf-16"), a), "ascii"),
    "no object": (lambda h, a: ([h], a), "not of npae's format"),
    "another format": (with_value("format", value="onnx"), "not of npae's format"),
    "a newer version": (with_value("version", value=3), "format version 3, while this npae reads version 2"),
    "a version of another type": (with_value("version", value=2.0), "spelled otherwise"),
    "NaN": (spelled('"epochs": 1,', '"epochs": NaN,'), "JSON compliant"),
    "infinity by 1e999": (spelled('"epochs": 1,', '"epochs": 1e999,'), "JSON compliant"),
    "a key twice": (spelled('"epochs": 1,', '"epochs": 2, "epochs": 1,'), "spelled otherwise"),
    "spaces": (spelled('"epochs": 1,', '"epochs":  1,'), "spelled otherwise"),
    "a number without end": (spelled('"epochs": 1,', '"epochs": ' + "9" * 100_000 + ","), "integer string"),
    "nested without end": (lambda h, a: (b"[" * 100_000 + b"]" * 100_000, a), "nested without end"),
    "nested without end, in a value": (
        spelled('"epochs": 1,', '"epochs": ' + "[" * 900 + "]" * 900 + ","), "recursion"),
    "no arrays": (lambda h, a: ({k: v for k, v in h.items() if k != "arrays"}, {}), "lists no arrays"),
    "arrays in a list": (with_value("arrays", value=[]), "lists no arrays"),
    "an array unlisted": (lambda h, a: (h, a | {"x": np.zeros(2)}), "a byte has changed"),
    "an array too many": (with_array("x", np.zeros(2)), "belong nowhere: x"),
    "an array without its bytes": (
        lambda h, a: without("network.0.0.W", h, a), "network.0.0.W without its array"),
    "a name that leads elsewhere": (with_array("../x", np.zeros(2)), r"of the name '\.\./x'"),
    "a name that is taken": (with_array("header", np.zeros(2)), "of the name 'header'"),
    "an array missing": (lambda h, a: (h, dict(list(a.items())[:-1])), "a byte has changed|not all is there"),
    "an array twice": (lambda h, a: (h, [*a.items(), list(a.items())[-1]]), "a byte has changed"),
    "terabytes": (with_value("arrays", "network.0.0.W", "shape", value=[2**40, 2]), "no room"),
    "terabytes, by many axes": (with_value("arrays", "network.0.0.W", "shape", value=[1000] * 5), "not all is there"),
    "axes without end": (with_value("arrays", "network.0.0.W", "shape", value=[1] * 65), "without a shape"),
    "a negative shape": (with_value("arrays", "network.0.0.W", "shape", value=[-6, -3]), "no room"),
    "a shape of booleans": (with_value("arrays", "network.0.0.W", "shape", value=[True, 18]), "no room"),
    "an object array": (with_value("arrays", "network.0.0.W", "dtype", value="object"), "of dtype 'object'"),
    "a big-endian array": (with_value("arrays", "network.0.0.W", "dtype", value=">f8"), "of dtype '>f8'"),
    "a dtype that is none": (with_value("arrays", "network.0.0.W", "dtype", value=[]), r"of dtype '?\[\]"),
    "an unknown class": (with_value("class", value="VAE"), "unknown class 'VAE'"),
    "a class that is none": (with_value("class", value=[]), "unhashable"),
    "a parameter too many": (with_value("parameters", "lr", value=1), "unexpected keyword argument 'lr'"),
    "a parameter missing": (
        spelled('"epochs": 1, ', ""), "would not write"),
    "a key too many": (with_value("more", value=1), "spelled otherwise"),
    "a learned method": (with_value("learned", "fit", value=1), "'fit' among what"),
    "a learned class": (with_value("learned", "__class__", value=1), "'__class__' among what"),
    "nothing learned": (
        lambda h, a: (h | {"learned": {}, "arrays": {}, "class": "PCA", "parameters": {"n_components": 2}}, {}),
        "nothing learned under components_, explained_variance_, explained_variance_ratio_, mean_, n_features_in_"),
    "an unknown layer": (with_value(*LAYERS, 0, "Sequential", 1, value={"Swish": []}), "unknown kind 'Swish'"),
    "a function": (with_value("parameters", "verbose", value={"os.system": {"command": "true"}}), "unknown kind 'os"),
    "two kinds at once": (with_value("parameters", "verbose", value={"ReLU": [], "ELU": [1.0]}), "2 kinds at once"),
    "widths that do not fit": (with_array("network.0.0.W", np.zeros((5, 3))), "a network_ from 5 to 6"),
    "widths that do not fit inside": (
        lambda h, a: with_array("network.0.0.b", np.zeros(2))(*with_array("network.0.0.W", np.zeros((6, 2)))(h, a)),
        "2 outputs of the layer before it"),
    "a bias that does not fit": (with_array("network.0.0.b", np.zeros(2)), "network.0.0 with a bias"),
    "a bias of another dtype": (with_array("network.0.0.b", np.zeros(3, np.float32)), "network.0.0 with a bias"),
    "layers of two dtypes": (
        lambda h, a: with_array("network.0.0.b", np.zeros(3, np.float32))(
            *with_array("network.0.0.W", np.zeros((6, 3), np.float32))(h, a)), "float64, where"),
    "weights of integers": (with_array("network.0.0.W", np.zeros((6, 3), int)), "network.0.0 with a bias"),
    "an infinite weight": (with_array("network.0.0.b", np.array([0, np.inf, 0])), "not all finite"),
    "one network": (with_value(*LAYERS[:1], "network_", value={"Sequential": [{"ReLU": []}]}), "belong nowhere"),
    "no loss": (with_value("learned", "loss_", value=None), "loss_ that is none"),
    "a loss that is none": (with_value("learned", "loss_", value={"Adam": {}}), "loss_ that is none"),
    "a loss on larger images": (with_value(*LOSS, "image_shape", value={"tuple": [9, 9]}), "images"),
    "a history of words": (with_value(*HISTORY, "loss", value=["x"]), "history.loss of another type"),
    "a history of nothing": (with_value("learned", "history_", value=[]), "'history_'|history_ that is none"),
    "a history without end": (with_value(*HISTORY, "stopped", value=3), "history.stopped of another type"),
    "a history with half an epoch": (with_value(*HISTORY, "seconds", value=[]), "an epoch has not all its numbers"),
    "a history that was held out alone": (
        with_value(*HISTORY, "validation_loss", value=[0.1] * 9), "an epoch has not all its numbers"),
    "a best epoch that never was": (with_value(*HISTORY, "best_epoch", value=9), "the best epoch 9 of"),
    "a best epoch before the first": (with_value(*HISTORY, "best_epoch", value=0), "the best epoch 0 of"),
    "moments of another length": (with_array("training.state.moments.0.1", np.zeros(7)), r"training_ of shape \(7,\)"),
    "moments too few": (
        with_value(*TWISTER[:3], "state", "State", "moments", value=[]), "none of Adam|belong nowhere"),
    "numbers too few": (
        with_array("training.state.numbers", np.zeros(3)), r"training_ of shape \(3,\) .* where \(7,\)"),
    "moments of another dtype": (
        lambda h, a: with_array("training.best", a["training.best"].astype(np.float32))(h, a), "training_ .* float32"),
    "moments that are none": (
        lambda h, a: with_array("training.best", a["training.best"] + np.inf)(h, a), "not all finite"),
    "steps in fractions": (
        with_value(*TWISTER[:3], "state", "State", "done", value=0.5), "training.state.done of another type"),
    "a generator of another make": (with_value(*STATE, "bit_generator", value="SFC128"), "unknown bit"),
    "a generator before its buffer": (with_value(*STATE, "buffer_pos", value=-(10**6)), "position -1000000"),
    "a generator behind its buffer": (with_value(*STATE, "buffer_pos", value=5), "position 5 of 4"),
    "a twister before its key": (with_value(*TWISTER, "pos", value=-1), "position -1"),
    "a twister behind its key": (with_value(*TWISTER, "pos", value=625), "position 625"),
    "a twister of a short key": (
        with_array("training.noise_rng.state.state.key", np.zeros(600, np.uint32)), "index 600"),
    "a twister of a long key": (
        with_array("training.noise_rng.state.state.key", np.zeros(700, np.uint32)), "would not write"),
    "a pool of terabytes": (with_value(*SEEDS, "pool_size", value=10**12), "pool of 1000000000000"),
    "a seed of nothing": (with_value(*SEEDS, "entropy", value=None), "would not write"),
    "a spawned key of words": (with_value(*SEEDS, "spawn_key", value="x"), ""),
    "the same as nothing": (with_value("learned", "mine_", value={"same as": "nothing"}), "'nothing'"),
    "the same as itself": (with_value("learned", "mine_", value={"same as": "mine_"}), "'mine_'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forgery_is_refused_with_its_fault(kind, wholes, path):
    change, match = FORGERIES[kind]
    refused(forge(*change(*parts(wholes["AE"]))), path, match)


def test_a_pca_whose_arrays_do_not_fit_is_refused(wholes, path):
    for name in ("mean_", "explained_variance_", "explained_variance_ratio_", "components_"):
        header, arrays = parts(wholes["PCA"])
        refused(forge(*with_array(name, arrays[name][:-1])(header, arrays)), path, "where .* belong")
    header, arrays = parts(wholes["PCA"])
    header["learned"]["feature_names_in_"]["strings"].pop()
    refused(forge(header, arrays), path, "feature_names_in_ of shape")
    header["learned"]["feature_names_in_"]["strings"].append(6)
    refused(forge(header, arrays), path, "would not write")


# --- other files ---------------------------------------------------------------------------------------------------


def saved_by(writer):
    out = io.BytesIO()
    writer(out)
    return out.getvalue()


def version_1():
    header = {"format": "npae", "version": 1, "class": "PCA", "parameters": {}, "learned": {}}
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    return saved_by(lambda out: np.savez(out, header=text, array0=X))


OTHERS = {
    "empty": (lambda: b"", "no header at its beginning"),
    "text": (lambda: b"not a model", "no header at its beginning"),
    "a zip archive without members": (lambda: saved_by(lambda out: zipfile.ZipFile(out, "w").close()), "no header"),
    "an array": (lambda: saved_by(lambda out: np.save(out, X)), "no header at its beginning"),
    "another npz": (lambda: saved_by(lambda out: np.savez(out, X=X)), "no header at its beginning"),
    "a pickle": (
        lambda: saved_by(lambda out: np.savez(out, header=np.array([{"format": "npae"}], dtype=object))), ""),
    "a compressed npz": (lambda: saved_by(lambda out: np.savez_compressed(out, header=X)), ""),
    "the first version": (version_1, "format version 1, while this npae reads version 2"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_that_is_no_model_is_refused(kind, path):
    make, match = OTHERS[kind]
    refused(make(), path, match)


@pytest.mark.parametrize("place", [None, 3, 1.5, b"\0", "a\0b", ["x"]])
def test_what_is_no_path_is_a_value_error(place):
    with pytest.raises(ValueError, match=r"load expected a file written by npae\.save, got "):
        npae.load(place)


def test_what_cannot_be_read_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        npae.load(tmp_path / "nowhere.npz")
    with pytest.raises(OSError, match=str(tmp_path)):
        npae.load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_what_has_no_end_is_refused_unread(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for endless in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match="a device or a pipe"):
            npae.load(endless)


# --- memory ----------------------------------------------------------------------------------------------------------


def peak(function, *arguments):
    """Bytes that are allocated at most at once, NumPy's included."""
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def huge_header(size):
    """A file whose first member claims to be that large."""
    whole = bytearray(forge({"format": "npae"}, {}))
    whole[44:52] = whole[52:60] = struct.pack("<Q", size)
    return bytes(whole)


def huge_array(wholes, *shape):
    """A file with all that an array of such a shape needs, its bytes excepted."""
    header, arrays = parts(wholes["AE"])
    header["arrays"]["network.0.0.W"]["shape"] = shape
    return forge(header, arrays)


BOMBS = {
    "zeros, deflated": lambda wholes: saved_by(
        lambda out: np.savez_compressed(out, header=np.zeros(30_000_000, np.uint8))),
    "a header of terabytes": lambda wholes: huge_header(2**43),
    "a header of all that can be counted": lambda wholes: huge_header(2**64 - 1),
    "an array of terabytes": lambda wholes: huge_array(wholes, 2**20, 2**20),
    "an array within each bound": lambda wholes: huge_array(wholes, *[5000] * 4),
    "an array of more bytes than can be counted": lambda wholes: huge_array(wholes, *[5000] * 64),
    "an array of nothing, but wide": lambda wholes: huge_array(wholes, 0, 5000, 5000, 5000, 5000, 5000, 5000),
    "brackets": lambda wholes: forge(b"[" + b"[]," * 100_000 + b"[]]", {}),
    "a pool": lambda wholes: forge(*FORGERIES["a pool of terabytes"][0](*parts(wholes["AE"]))),
    "windows of a large image": lambda wholes: forge(
        *with_value(*LOSS, "image_shape", value={"tuple": [10**6, 10**6]})(*parts(wholes["AE"]))),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_in_the_memory_of_its_file(kind, wholes, path):
    data = BOMBS[kind](wholes)
    refused(data, path)  # once before, so that what is imported and cached does not count
    assert len(data) < 400_000
    assert peak(refused, data, path) < 30 * len(data) + 1_000_000


def test_a_model_is_loaded_in_a_few_times_the_memory_of_its_file(tmp_path):
    model = npae.AE((500,), 20, epochs=0).fit(np.zeros((2, 700), np.float32))
    npae.save(model, tmp_path / "model.npz")
    size = os.path.getsize(tmp_path / "model.npz")
    assert size > 2_800_000
    npae.load(tmp_path / "model.npz")
    assert peak(npae.load, tmp_path / "model.npz") < 6 * size
    assert peak(npae.save, model, tmp_path / "model.npz") < 0.5 * size


def test_the_sums_are_those_that_zip_and_npy_define(wholes):
    for whole in wholes.values():
        with zipfile.ZipFile(io.BytesIO(whole)) as data:
            assert data.testzip() is None
            for info in data.infolist():
                assert zlib.crc32(data.read(info)) == info.CRC
                with data.open(info) as stream:
                    np.lib.format.read_array(stream, allow_pickle=False)
