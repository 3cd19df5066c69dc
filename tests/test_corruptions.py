"""Corruptions add the noise that their names say, fresh at every call, and do not change clean data."""

import numpy as np
import pytest
from helpers import batches, numbers, seeds
from hypothesis import example, given
from hypothesis import strategies as st

import npae
from npae.corruptions import CORRUPTIONS, corrupt, normals, philox

ALL = [npae.GaussianNoise(0.5), npae.GaussianNoise(0.5, clip=(0, 1)), npae.MaskingNoise(0.3), npae.SaltAndPepper(0.2)]


@pytest.mark.parametrize("corruption", ALL, ids=repr)
@given(x=batches(), seed=seeds())
def test_shape_and_dtype_stay_and_x_is_unchanged(corruption, x, seed):
    for dtype in (np.float32, np.float64):
        clean = x.astype(dtype)
        before = clean.copy()
        clean.flags.writeable = False
        noisy = corruption(clean, np.random.default_rng(seed))
        assert noisy.shape == x.shape
        assert noisy.dtype == dtype
        np.testing.assert_array_equal(clean, before)
        np.testing.assert_array_equal(noisy, corruption(clean, np.random.default_rng(seed)))


def test_lists_whole_numbers_and_seeds_are_taken():
    for corruption in ALL:
        assert corruption([[1, 2], [3, 4]], 0).shape == (2, 2)
    salted = npae.SaltAndPepper(1.0, low=-0.5, high=0.9)(np.ones((100, 10), np.uint8), 0)
    assert salted.dtype == np.float32
    np.testing.assert_allclose(np.unique(salted), [-0.5, 0.9], rtol=1e-6)
    assert npae.GaussianNoise(0.1)(np.ones((2, 2), np.int64), 0).dtype == np.float64


@pytest.mark.parametrize("corruption", ALL, ids=repr)
def test_noise_is_fresh_at_every_call(corruption):
    x, rng = np.full((50, 50), 0.5), np.random.default_rng(0)
    assert not np.array_equal(corruption(x, rng), corruption(x, rng))


@given(std=numbers(0, 2), seed=seeds())
def test_gaussian_noise_is_normal_with_the_given_deviation(std, seed):
    noise = npae.GaussianNoise(std)(np.full((200, 100), 3.0), np.random.default_rng(seed)) - 3.0
    assert abs(noise.mean()) < 6 * std / np.sqrt(20_000) + 1e-15
    assert noise.std() == pytest.approx(std, rel=6 / np.sqrt(40_000), abs=1e-12)
    assert (abs(noise) <= std).mean() == pytest.approx(0.6827, abs=0.02) or std < 1e-12


def test_gaussian_noise_is_independent_from_element_to_element():
    noise = npae.GaussianNoise(1.0)(np.zeros((100, 100)), 0)
    assert len(np.unique(noise)) == noise.size
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 0.05


def test_gaussian_noise_is_clipped_to_its_range():
    noisy = npae.GaussianNoise(5.0, clip=(0, 1))(np.full((50, 50), 0.5), np.random.default_rng(0))
    assert noisy.min() == 0
    assert noisy.max() == 1


@given(fraction=numbers(0, 1), seed=seeds())
def test_masking_sets_the_given_fraction_to_zero(fraction, seed):
    noisy = npae.MaskingNoise(fraction)(np.full((100, 100), 0.7), np.random.default_rng(seed))
    assert set(np.unique(noisy)) <= {0.0, 0.7}
    assert (noisy == 0).mean() == pytest.approx(fraction, abs=0.03)


@given(fraction=numbers(0, 1), seed=seeds())
def test_salt_and_pepper_come_in_equal_parts(fraction, seed):
    noisy = npae.SaltAndPepper(fraction, low=-1, high=2)(np.full((100, 100), 0.7), np.random.default_rng(seed))
    assert set(np.unique(noisy)) <= {-1.0, 0.7, 2.0}
    assert (noisy == -1).mean() == pytest.approx(fraction / 2, abs=0.03)
    assert (noisy == 2).mean() == pytest.approx(fraction / 2, abs=0.03)


def test_each_name_leads_to_its_corruption():
    kinds = {"gaussian": npae.GaussianNoise, "masking": npae.MaskingNoise, "salt_and_pepper": npae.SaltAndPepper}
    assert kinds == CORRUPTIONS


def test_corrupt_casts_to_the_dtype_of_x_and_protects_x():
    x = np.ones((2, 3), np.float32)
    assert corrupt(lambda x, rng: x.astype(np.float64) + 1, x, np.random.default_rng(0)).dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        corrupt(lambda x, rng: np.add(x, 1, out=x), x, np.random.default_rng(0))
    assert (x == 1).all()
    assert x.flags.writeable


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x, rng: x[:, :2], r"numbers of shape \(2, 3\), got float64 of shape \(2, 2\)"),
        (lambda x, rng: x.astype(str), "numbers of shape"),
        (lambda x, rng: x * np.inf, "finite numbers, got NaN or infinity"),
    ],
    ids=["shape", "strings", "infinity"],
)
def test_corrupt_refuses_a_result_that_the_network_cannot_take(wrong, message):
    with pytest.raises(ValueError, match=f"corruption expected to return {message}"):
        corrupt(wrong, np.ones((2, 3)), np.random.default_rng(0))


# --- random numbers ---------------------------------------------------------------------------------------------------


def philox_in_python(counter, key):
    """Philox4x32-10 of one counter, with Python's integers (Salmon et al., 2011, section 3.2)."""
    x, (k0, k1) = [counter & 0xFFFFFFFF, counter >> 32, 0, 0], (key & 0xFFFFFFFF, key >> 32)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [(p1 >> 32) ^ x[1] ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ x[3] ^ k1, p0 & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return x


@given(key=st.integers(0, 2**64 - 1), n=st.integers(0, 50))
@example(key=0, n=4)
def test_random_words_are_those_of_philox(key, n):
    words = [word for counter in range(-(-n // 4)) for word in philox_in_python(counter, key)]
    assert philox(np.array([key], np.uint64), n).tolist() == words[:n]


def test_the_words_of_key_zero_are_the_published_ones():
    """The first known answer that Salmon et al. publish with Random123 (kat_vectors, philox4x32 10)."""
    assert philox(np.zeros(1, np.uint64), 4).tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


def test_normals_are_finite_even_for_the_smallest_word():
    key = np.array([75465], np.uint64)
    first, second = philox(key, 2).tolist()
    assert first < 2**9  # below the resolution of u
    expected = np.sqrt(48 * np.log(2)) * np.cos(2 * np.pi * second / 2**32)
    assert normals(key, 1).item() == pytest.approx(expected, rel=1e-12)


def test_an_element_is_masked_if_its_word_is_below_the_fraction():
    key = np.array([11], np.uint64)
    words = philox(key, 40)
    for i, word in enumerate(words.tolist()):
        for fraction, masked in ((word / 2**32, False), ((word + 1) / 2**32, True)):
            assert (npae.MaskingNoise(fraction).apply(np.ones((1, 40)), key)[0, i] == 0) == masked


def test_the_lower_half_of_the_words_below_the_fraction_is_pepper_and_the_upper_half_salt():
    x, key = np.full((5, 40), 0.7), np.array([11], np.uint64)
    words = philox(key, 200).reshape(5, 40)
    noisy = npae.SaltAndPepper(0.5, low=-1, high=2).apply(x, key)
    np.testing.assert_array_equal(noisy, np.where(words < 2**30, -1, np.where(words < 2**31, 2, x)))
