"""Noise: the stream of random numbers is the published one, and its normals are normal."""

import math

import numpy as np
import pytest
from helpers import numbers, seeds
from hypothesis import example, given
from hypothesis import strategies as st
from kernel_helpers import TOLERANCE, both_dtypes, needs_numba, twins

import npae
from npae.corruptions import gaussian_noise, masking_noise, normals, philox
from npae.kernels import KERNELS

INFINITE = (-np.inf, np.inf)


def key(number):
    return np.array([number], np.uint64)


def philox_by_hand(counter, key, rounds=10):
    """Philox4x32 with Python's whole numbers, from the paper's figure."""
    x, (k0, k1) = list(counter), key
    for _ in range(rounds):
        p0, p1 = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [(p1 >> 32) ^ x[1] ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ x[3] ^ k1, p0 & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return x


def test_the_reference_by_hand_gives_the_papers_known_answers():
    """The known-answer vectors that Salmon et al. publish with Random123 (kat_vectors, philox4x32 10)."""
    ones = 0xFFFFFFFF
    assert philox_by_hand([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox_by_hand([ones] * 4, [ones] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0]
    assert philox_by_hand(*pi) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


@given(k=st.integers(0, 2**64 - 1), n=st.integers(0, 50))
@example(k=0, n=4)
def test_the_stream_is_philox(k, n):
    expected = [w for c in range(-(-n // 4)) for w in philox_by_hand([c, 0, 0, 0], [k & 0xFFFFFFFF, k >> 32])][:n]
    assert philox(key(k), n).tolist() == expected


@needs_numba
@both_dtypes
@given(
    k=st.integers(0, 2**64 - 1),
    shape=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    amount=numbers(0, 1),
    low=numbers(-2, 0),
    high=numbers(0.5, 3),
)
@example(k=1, shape=(3, 4095), amount=0.5, low=-1.0, high=1.0)
@example(k=1, shape=(2, 4096), amount=0.5, low=-1.0, high=1.0)
def test_both_backends_draw_the_same_noise(dtype, k, shape, amount, low, high):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    for name, arguments in (
        ("gaussian_noise", (amount, *INFINITE)),
        ("gaussian_noise", (amount, low, high)),
        ("masking_noise", (amount,)),
        ("salt_and_pepper", (amount, low, high)),
    ):
        got, expected = (f[name](x, key(k), *arguments) for f in (twins(), KERNELS))
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], err_msg=name)


@pytest.mark.usefixtures("backend")
@both_dtypes
def test_an_element_is_struck_from_its_own_word_on(dtype):
    x = np.ones((1, 40), dtype)
    for i, word in enumerate(philox(key(11), 40).tolist()):
        for fraction, struck in ((word / 2**32, False), ((word + 1) / 2**32, True)):
            assert (masking_noise(x, key(11), fraction)[0, i] == 0) == struck


@pytest.mark.usefixtures("backend")
def test_the_lower_half_of_what_is_struck_is_pepper_and_the_upper_salt():
    x, words = np.full((5, 40), 0.7), philox(key(11), 200).reshape(5, 40)
    noisy = npae.SaltAndPepper(0.5, low=-1, high=2).apply(x, key(11))
    np.testing.assert_array_equal(noisy, np.where(words < 2**30, -1, np.where(words < 2**31, 2, x)))


def kolmogorov_smirnov(z):
    """The largest distance between the distribution of z and the normal one, times sqrt(n)."""
    z = np.sort(z)
    normal = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in z])
    steps = np.arange(len(z) + 1) / len(z)
    return math.sqrt(len(z)) * max(abs(normal - steps[:-1]).max(), abs(normal - steps[1:]).max())


@pytest.mark.usefixtures("backend")
@both_dtypes
@pytest.mark.parametrize("k", [0, 1, 2**40 + 17])
def test_normals_are_normal(dtype, k):
    n = 1_000_000
    zeros = np.zeros(n, dtype)
    z = gaussian_noise(zeros, key(k), 1.0, *INFINITE).astype(np.float64)
    assert kolmogorov_smirnov(z[:200_000]) < 1.95  # exceeded once in a thousand by a true normal
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((z**power).mean() - moment) < 4.5 * math.sqrt(variance / n), f"moment {power}"
    for lag in (1, 2, 3, 4, 5, 4096):
        assert abs((z[lag:] * z[:-lag]).mean()) < 4.5 / math.sqrt(n - lag), f"correlation at lag {lag}"
    assert abs(z).max() < 6


@pytest.mark.usefixtures("backend")
@both_dtypes
def test_the_smallest_word_makes_a_large_number_and_no_infinite_one(dtype):
    rare = key(75465)  # its first word is below 2^9: the log is taken of 2^-24
    first, second = (int(word) for word in philox(rare, 2))
    assert first < 2**9
    z = gaussian_noise(np.zeros((1, 1), dtype), rare, 1.0, *INFINITE)
    assert z.item() == pytest.approx(math.sqrt(48 * math.log(2)) * math.cos(2 * math.pi * second / 2**32), rel=1e-5)


def test_normals_cover_all_quadrants_of_box_and_muller_equally():
    z = normals(key(3), 100_000).reshape(-1, 2)
    angles = np.arctan2(z[:, 1], z[:, 0])
    counts, _ = np.histogram(angles, bins=16, range=(-np.pi, np.pi))
    assert ((counts - 3125) ** 2 / 3125).sum() < 37.7  # chi square with 15 degrees of freedom, one in a thousand


@given(k=st.integers(0, 2**64 - 1), seed=seeds())
def test_different_keys_give_unrelated_streams(k, seed):
    a = normals(key(k), 4000)
    b = normals(key(k ^ (1 << (seed % 64))), 4000)
    assert abs((a * b).mean()) < 6 / math.sqrt(4000)


@needs_numba
def test_an_element_does_not_depend_on_how_many_there_are():
    many = twins()["gaussian_noise"](np.zeros(20_000), key(5), 1.0, *INFINITE)
    few = twins()["gaussian_noise"](np.zeros(4_097), key(5), 1.0, *INFINITE)
    np.testing.assert_array_equal(many[:4_097], few)
