"""Values become JSON and arrays and come back equal; from other JSON nothing is built that a model could not hold."""

import copy
import math

import numpy as np
import pytest
from changes import (
    HISTORY,
    LOSS,
    NETWORK,
    PHILOX,
    SEEDS,
    TWISTER,
    W,
    at,
    b,
    both,
    places,
    with_array,
    with_text,
    with_value,
)
from forgery import forge, parts, refuses, understood
from hypothesis import event, given
from hypothesis import strategies as st

import npae
from npae.storage import archive
from npae.storage.serialize import deserialize, serialize

MUTANTS = 3  # of each example that hypothesis draws


def there_and_back(value):
    arrays = {}
    text = serialize(value, "mine", arrays)
    again = deserialize(text, arrays)
    assert not arrays
    return again


# --- values ----------------------------------------------------------------------------------------------------

EQUAL = [
    None, True, 0, -3, 10**3999, 0.1, np.inf, -np.inf, "", "\0", "\ud800", [], (), [(), [{"a": (1.5, None)}]], {},
    {"float": "nan"}, {"array": "mine"}, np.dtype("float32"), npae.MSE(), npae.SSIM((2, 3), window=2), npae.BCE(),
    npae.Adam(npae.Cosine(0.1), weight_decay=0.1), npae.SGD(npae.Constant(0.1), momentum=0.9, nesterov=True),
    npae.GaussianNoise(0.2, clip=(0, 1)), npae.MaskingNoise(0.1), npae.SaltAndPepper(0.1, -1, 2),
    npae.History([0.5], [0.25], [1e-3], [2.0], 1, "by hand"),
]  # fmt: skip


@pytest.mark.parametrize("value", EQUAL, ids=lambda value: f"{value!r:.30}")
def test_a_value_comes_back_equal_and_of_its_type(value):
    assert there_and_back(value) == value
    assert type(there_and_back(value)) is type(value)


def test_nan_comes_back():
    assert math.isnan(there_and_back([math.nan])[0])


@pytest.mark.parametrize(("value", "plain"), [(np.float32(0.1), float(np.float32(0.1))), (np.True_, True),
                                              (np.int8(3), 3), (np.str_("a"), "a")])  # fmt: skip
def test_a_numpy_scalar_becomes_pythons_own(value, plain):
    assert there_and_back(value) == plain
    assert type(there_and_back(value)) is type(plain)


@pytest.mark.parametrize("dtype", [float, np.float32, np.dtype("float64")])
def test_a_dtype_comes_back_however_it_was_spelled(dtype):
    assert there_and_back(dtype) == np.dtype(dtype)


@pytest.mark.parametrize("names", [["a", "Größe", "c [m]", "\ud800", ""], []])
def test_names_come_back_as_an_array_of_objects(names):
    back = there_and_back(np.array(names, dtype=object))
    assert (back.dtype, back.shape, back.tolist()) == (np.dtype(object), (len(names),), names)


def test_arrays_are_named_after_their_places():
    arrays, network = {}, npae.Sequential(npae.Sequential(npae.Dense(3, 2, rng=0), npae.ELU(0.5)), npae.Dense(2, 1))
    text = serialize({"of": [network, np.arange(3)]}, "mine", arrays)
    assert list(arrays) == ["mine.of.0.0.0.W", "mine.of.0.0.0.b", "mine.of.0.1.W", "mine.of.0.1.b", "mine.of.1"]
    back, numbers = deserialize(text, dict(arrays))["of"]
    assert repr(back) == repr(network)
    assert [p.name for p in back.parameters()] == ["0.0.W", "0.0.b", "1.W", "1.b"]
    for p, q in zip(back.parameters(), network.parameters(), strict=True):
        np.testing.assert_array_equal(p.value, q.value)
    np.testing.assert_array_equal(numbers, np.arange(3))


class Seeds(np.random.SeedSequence):
    """A subclass, of which a file cannot hold what it adds."""


class Relu(npae.ReLU):
    pass


REFUSED = {
    "an integer of 5000 digits": 10**5000, "an object": object(), "keys that are not strings": {1: 2}, "a set": {1},
    "an array of objects": np.array([object()]), "complex numbers": np.array([1j]), "a class": npae.MSE,
    "a function": abs, "bytes": b"bytes", "two arrays of one name": {"x": {"y": np.zeros(2)}, "x.y": np.ones(2)},
    "a layer that is not npae's": npae.Sequential(Relu()), "a name that no array can have": {"größe": np.zeros(2)},
    "seeds that are not NumPy's": np.random.Generator(np.random.PCG64(Seeds(0))),
    "a pool of seeds that is slow": np.random.Generator(np.random.PCG64(np.random.SeedSequence(0, pool_size=65))),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_a_value_that_a_file_cannot_hold_is_refused(kind):
    with pytest.raises(TypeError, match=r"save expected mine.* to be npae's own or plain data, got .*: replace it"):
        serialize(REFUSED[kind], "mine", {})


# --- generators ------------------------------------------------------------------------------------------------


def same_future(a, b):
    """Draws of each width, spawned generators, and theirs."""
    for _ in range(2):
        for draw in (
            lambda g: g.integers(2**32, size=3, dtype=np.uint32),
            lambda g: g.random(5),
            lambda g: g.standard_normal(700),
        ):
            np.testing.assert_array_equal(draw(a), draw(b))
        a, b = a.spawn(3)[1], b.spawn(3)[1]


@given(
    st.sampled_from(["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]),
    st.integers(0, 2**130) | st.lists(st.integers(0, 2**40), max_size=3),
    st.integers(0, 700), st.integers(0, 3), st.booleans(), st.sampled_from([4, 5, 16]),
)  # fmt: skip
def test_a_generator_continues_where_it_was(bits, seed, drawn, spawned, child, pool):
    generator = np.random.Generator(getattr(np.random, bits)(np.random.SeedSequence(seed, pool_size=pool)))
    generator = generator.spawn(1)[0] if child else generator
    generator.integers(2**32, size=drawn, dtype=np.uint32)  # an odd number keeps half a draw
    generator.spawn(spawned)
    twin = there_and_back(generator)
    assert twin.bit_generator.seed_seq.state == generator.bit_generator.seed_seq.state
    same_future(twin, generator)


test_a_forged_generator_is_refused = refuses({
    "another kind": (with_value(*PHILOX, "bit_generator", value="SFC128"), "SFC128"),
    "a kind with another state": (with_value(*PHILOX, "bit_generator", value="PCG64"), ""),
    "a function of numpy.random": (with_value(*PHILOX, "bit_generator", value="seed"), "'seed'"),
    "a position before the buffer": (with_value(*PHILOX, "buffer_pos", value=-(10**6)), "position -1000000"),
    "a position behind the buffer": (with_value(*PHILOX, "buffer_pos", value=5), "position 5 in a buffer of 4"),
    "a position in fractions": (with_value(*PHILOX, "buffer_pos", value=0.5), "position 0.5"),
    "a twister before its key": (with_value(*TWISTER, "pos", value=-1), "position -1"),
    "a twister behind its key": (with_value(*TWISTER, "pos", value=625), "position 625 in a buffer of 624"),
    "a twister with a short key": (with_array("training.noise_rng.state.state.key", np.zeros(600, "u4")), "index 600"),
    "a twister with a long key": (with_array("training.noise_rng.state.state.key", np.zeros(700, "u4")), "differs"),
    "a pool of terabytes": (with_value(*SEEDS, "pool_size", value=10**12), "a pool of 1000000000000"),
    "no seed": (with_value(*SEEDS, "entropy", value=None), "header differs"),
    "a spawn key of words": (with_value(*SEEDS, "spawn_key", value="x"), ""),
})  # fmt: skip


# --- forged JSON -----------------------------------------------------------------------------------------------

test_json_that_describes_no_value_is_refused = refuses({
    "an unknown layer": (with_value(*NETWORK, "Sequential", "1", value={"Swish": {}}), "unknown kind 'Swish'"),
    "a function": (with_value("parameters", "verbose", value={"os.system": {"command": "true"}}), "unknown kind 'os"),
    "two kinds at once": (with_value("parameters", "verbose", value={"ReLU": {}, "ELU": {"alpha": 1.0}}), "unpack"),
    "no kind": (with_value("parameters", "verbose", value={}), "unpack"),
    "an argument too many": (with_value(*NETWORK, "Sequential", "0", value={"ReLU": {"x": 1}}), "takes no arguments"),
    "an argument out of range": (with_value(*LOSS, "SSIM", "sigma", value=-1), "SSIM expected sigma"),
    "an argument left out": (
        with_value(*LOSS, "SSIM", value={"image_shape": {"tuple": [2, 3]}, "window": 2}), "header differs"),
    "layers that are none": (with_value(*NETWORK, "Sequential", "1", value={"MSE": {}}), "Sequential expected layers"),
    "layers by other names": (
        with_text('"network": {"Sequential": {"0"', '"network": {"Sequential": {"00"'), "header differs"),
    "an array that is not there": (with_value("learned", "user_", value={"array": "user"}), "KeyError: 'user'"),
    "one array in two places": (with_value("learned", "user_", value={"array": W}), f"KeyError: '{W}'"),
    "an array that is not used": (with_array("mine", np.zeros(2)), "header differs"),
    "a dtype of objects": (with_value("parameters", "dtype", value={"dtype": "object"}), "'object' is not in list"),
    "a dtype that is aligned otherwise": (with_value("parameters", "dtype", value={"dtype": ">f4"}), "not in list"),
    "a number in words": (with_value("learned", "user_", value={"float": "1.5"}), "header differs"),
    "names that are numbers": (with_value("learned", "user_", value={"strings": [1]}), "which a file cannot hold"),
    "names that are one word": (with_value("learned", "user_", value={"strings": "ab"}), "unknown|hold|differs"),
    "a tuple of letters": (with_value("learned", "user_", value={"tuple": "ab"}), "header differs"),
    "widths that do not fit": (with_array(W, np.zeros((6, 2))), "could not broadcast"),
    "a bias that does not fit": (with_array(b, np.zeros(2)), "could not broadcast"),
    "a bias of one number": (with_array(b, np.zeros(1)), "header differs"),
    "a bias of another dtype": (with_array(b, np.zeros(3, np.float32)), "header differs"),
    "weights of integers": (with_array(W, np.zeros((6, 3), int)), "Dense expected dtype"),
    "no weights": (with_array(W, np.zeros((6, 0))), "Dense expected n_out"),
    "weights in a cube": (with_array(W, np.zeros((6, 3, 1))), "Dense"),
    "inner widths that do not fit": (
        both(with_array(W, np.zeros((6, 2))), with_array(b, np.zeros(2))), "2 outputs of the layer before it"),
    "NaN": (with_text('"epochs": 1,', '"epochs": NaN,'), "header differs"),
    "infinity by 1e999": (with_text('"epochs": 1,', '"epochs": 1e999,'), "header differs"),
    "a key twice": (with_text('"epochs": 1,', '"epochs": 2, "epochs": 1,'), "header differs"),
    "spaces": (with_text('"epochs": 1,', '"epochs":  1,'), "header differs"),
    "a number without end": (with_text('"epochs": 1,', f'"epochs": {"9" * 100_000},'), "integer string"),
    "a value nested without end": (with_text('"epochs": 1,', f'"epochs": {"[" * 5000}{"]" * 5000},'), "recursion"),
    "a version that is a fraction": (with_text('"version": 3,', '"version": 3.0,'), "header differs"),
    "a record without parts": (with_value(*HISTORY, value=[]), "AttributeError"),
})  # fmt: skip

VALUES = [
    None, True, False, 0, 1, 2, -1, 5, 624, 625, 2**31, 2**63, 2**64, 2**128, 10**100, 0.5, -0.5, 1e300, "", "x", "inf",
    W, "components", "float64", "object", "mse", "AE", "PCA", "MT19937", "PCG64", "history_", [], {}, [[]], [0], [1.5],
    ["a"], {"": 0}, {"array": "components"}, {"float": "nan"}, {"float": 0}, {"tuple": []}, {"tuple": {}}, {"list": []},
    {"dict": {}}, {"dtype": "float64"}, {"dtype": "object"}, {"strings": []}, {"strings": "ab"}, {"strings": [1]},
    {"Generator": {}}, {"Dense": {}}, {"Sequential": {}}, {"Sequential": {"0": {"ReLU": {}}}}, {"ReLU": {}},
    {"ELU": {"alpha": -1}}, {"ELU": {"alpha": "x"}}, {"LeakyReLU": {}}, {"MSE": {}}, {"MSE": []}, {"BCE": {}},
    {"SSIM": {}}, {"Adam": {"learning_rate": -1}}, {"Cosine": {"start": 0.1}}, {"History": {}},
    {"History": {"loss": 3}}, {"State": {}}, {"os.system": {"command": "true"}},
]  # fmt: skip


@st.composite
def altered(draw, header):
    """A header in which one to three values are set, removed or added."""
    header = copy.deepcopy(header)
    for _ in range(draw(st.integers(1, 3))):
        every = list(places(header))
        *above, key = draw(st.sampled_from(every))
        parent = at(header, above)
        old = parent[key]
        values = st.sampled_from(VALUES) | st.sampled_from(every).map(lambda place: at(header, place))
        if type(old) in (int, float):
            values |= st.sampled_from([old + 1, -old, old * 1.5, float(old)])
        value, kind = copy.deepcopy(draw(values)), draw(st.sampled_from(["set", "remove", "add", "rename"]))
        if kind in ("remove", "rename"):
            del parent[key]
        if kind == "set":
            parent[key] = value
        elif kind != "remove" and isinstance(parent, list):
            parent.insert(0, value)
        elif kind != "remove":
            name = draw(st.sampled_from(["x", "", "user_", "fit", "__class__", "encoder_", "W", *parent]))
            parent[name] = value if kind == "add" else old
    return header


@st.composite
def swapped(draw, arrays):
    """Arrays of which one is missing, renamed, added, or has another shape, dtype or content."""
    arrays, name = dict(arrays), draw(st.sampled_from(sorted(arrays)))
    a = arrays[name]
    kind = draw(st.sampled_from(["drop", "rename", "add", "change", "change", "change"]))
    if kind in ("drop", "rename"):
        del arrays[name]
    if kind in ("rename", "add"):
        arrays[draw(st.sampled_from(["x", "training.network.9.9.W", "mine", "header.", "parameters.hidden"]))] = a
    if kind == "change" and a.size:
        with np.errstate(all="ignore"):
            first_nan = np.where(np.arange(a.size).reshape(a.shape) == 0, np.nan, a).astype(a.dtype)
            cast = a.astype(draw(st.sampled_from(archive.DTYPES)))
        others = [a[:-1], a.T, a.reshape(1, -1), a[:0], (a + 1).astype(a.dtype), first_nan, cast]
        arrays[name] = np.ascontiguousarray(draw(st.sampled_from(others)))
    return arrays


@given(data=st.data())
def test_a_forged_file_is_refused_or_understood_to_the_last_letter(wholes, path, data):
    header, arrays = parts(wholes[data.draw(st.sampled_from(sorted(wholes)))])
    for _ in range(MUTANTS):
        new_header, new_arrays = header, arrays
        if data.draw(st.booleans()):
            new_header = data.draw(altered(header))
        if new_header is header or data.draw(st.integers(0, 3)) == 0:
            new_arrays = data.draw(swapped(arrays))
        if new_arrays is not arrays and data.draw(st.booleans()):  # else the header lists other ones
            listed = {k: {"dtype": a.dtype.name, "shape": list(a.shape)} for k, a in new_arrays.items()}
            new_header = new_header | {"arrays": listed}
        event("understood" if understood(forge(new_header, new_arrays), path) else "refused")


@pytest.mark.once
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
            understood(forge(other, arrays), path)
