"""Random numbers that are a function of a key and a place, so that any number of threads draws the same.

Philox turns a counter and a key into four words of 32 bits by ten rounds of multiplying, crossing over and
mixing in the key. Element i of an array takes its word from the counter i // 4, whoever
computes it; `npae.corruptions.philox` is the specification. Normals are made of pairs of words
by Box and Muller's formula, with logarithm, sine and cosine as series, because a loop that
calls the C library's is not vectorised.

Source: Salmon, Moraes, Dror and Shaw, 2011, "Parallel random numbers: as easy as 1, 2, 3", Philox4x32-10;
Box and Muller, 1958, "A note on the generation of random normal deviates".
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from npae.kernels.arrays import Array, aligned
from npae.kernels.numba_backend.compile import (
    INNER_OPTIONS,
    Kernel,
    double,
    inner,
    integer,
    number,
    vector,
    vector_out,
    words,
)
from npae.kernels.numba_backend.elementwise import BLOCK
from npae.kernels.numba_backend.parallel import parallel_for, run
from npae.kernels.numba_backend.scratch import scratch
from npae.kernels.numba_backend.twins import flat, twin

I32 = ir.IntType(32)
QUARTER = BLOCK // 4
GAUSSIAN, MASKING, SALT_AND_PEPPER = range(3)
CYCLES = 5 * BLOCK  # of a task, about
LOW = np.uint64(0xFFFFFFFF)
M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)  # multipliers
W0, W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # what is added to the key after each round
HALF = np.uint64(32)


@inner
def _philox(key: Array, first: int, w0: Array, w1: Array, w2: Array, w3: Array) -> None:
    """The four words of each of the counters first, first + 1, ..."""
    low, high = key[0] & LOW, key[0] >> HALF
    for i in range(w0.size):
        counter = np.uint64(first) + np.uint64(i)
        k0, k1 = low, high
        x0, x1, x2, x3 = counter & LOW, counter >> HALF, np.uint64(0), np.uint64(0)
        for _ in range(10):
            p0, p1 = x0 * M0, x2 * M1
            x0, x1, x2, x3 = (p1 >> HALF) ^ x1 ^ k0, p1 & LOW, (p0 >> HALF) ^ x3 ^ k1, p0 & LOW
            k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
        w0[i], w1[i], w2[i], w3[i] = x0, x1, x2, x3


# --- from words to normals -------------------------------------------------------------------------------


@intrinsic
def _uniform(typing_context, word, like):
    """(word >> 9 + 1/2) 2^-23: in (0, 1), and exact in float32."""

    def emit(context, builder, signature, arguments):
        real = arguments[1].type
        whole = builder.sitofp(builder.lshr(arguments[0], I32(9)), real)
        return builder.fmul(builder.fadd(whole, real(0.5)), real(2.0**-23))

    return like(types.uint32, like), emit


@intrinsic
def _quarter(typing_context, word):
    """The nearest quarter turn to an angle of word 2^-32 turns: 0, 1, 2 or 3."""

    def emit(context, builder, signature, arguments):
        return builder.lshr(builder.add(arguments[0], I32(1 << 29)), I32(30))

    return types.uint32(types.uint32), emit


@intrinsic
def _beyond(typing_context, word, like):
    """How far that angle is beyond it, in quarter turns: in [-1/2, 1/2)."""

    def emit(context, builder, signature, arguments):
        real = arguments[1].type
        return builder.fmul(builder.sitofp(builder.shl(arguments[0], I32(2)), real), real(2.0**-32))

    return like(types.uint32, like), emit


@intrinsic
def _significand_and_exponent(typing_context, x):
    """m and k with x = m 2^k and m in [1/√2, √2), for x > 0: read from the bits of a float."""
    kind, real, fraction, root = (
        (I32, ir.FloatType(), 23, np.float32(0.5**0.5).view(np.int32))
        if x == types.float32
        else (ir.IntType(64), ir.DoubleType(), 52, np.float64(0.5**0.5).view(np.int64))
    )

    def emit(context, builder, signature, arguments):
        bits = builder.bitcast(arguments[0], kind)
        k = builder.ashr(builder.sub(bits, kind(int(root))), kind(fraction))
        m = builder.bitcast(builder.sub(bits, builder.shl(k, kind(fraction))), real)
        return context.make_tuple(builder, signature.return_type, [m, builder.sitofp(k, real)])

    return types.UniTuple(x, 2)(x), emit


def _log(x: float) -> float:
    raise NotImplementedError


@overload(_log, jit_options=INNER_OPTIONS)
def _compiled_log(x):
    real, terms = (np.float32, 5) if x == types.float32 else (np.float64, 11)
    one, two, log_2 = real(1), real(2), real(math.log(2))
    last = real(1 / (2 * terms - 1))
    series = tuple(real(1 / k) for k in range(2 * terms - 3, 0, -2))

    def log(x):
        """log m = 2 (s + s³/3 + s⁵/5 + ...) with s = (m - 1) / (m + 1)."""
        m, k = _significand_and_exponent(x)
        s = (m - one) / (m + one)
        total = last
        for coefficient in series:
            total = total * (s * s) + coefficient
        return k * log_2 + two * s * total

    return log


def _turned(x: float) -> tuple[float, float]:
    raise NotImplementedError


@overload(_turned, jit_options=INNER_OPTIONS)
def _compiled_turned(x):
    real, terms = (np.float32, 6) if x == types.float32 else (np.float64, 10)
    quarter = real(math.pi / 2)
    cos_last = real((-1) ** terms / math.factorial(2 * terms))
    cos_series = tuple(real((-1) ** k / math.factorial(2 * k)) for k in range(terms - 1, -1, -1))
    sin_last = real((-1) ** terms / math.factorial(2 * terms + 1))
    sin_series = tuple(real((-1) ** k / math.factorial(2 * k + 1)) for k in range(terms - 1, -1, -1))

    def turned(x):
        """cos and sin of x quarter turns, |x| <= 1/2."""
        x = x * quarter
        square = x * x
        c, s = cos_last, sin_last
        for coefficient in cos_series:
            c = c * square + coefficient
        for coefficient in sin_series:
            s = s * square + coefficient
        return c, s * x

    return turned


@inner
def _box_muller(u: Array, angle: Array, minus_two: float, first: Array, second: Array) -> None:
    """r cos a and r sin a with r = sqrt(-2 log u)."""
    for i in range(u.size):
        r = math.sqrt(minus_two * _log(_uniform(u[i], minus_two)))
        c, s = _turned(_beyond(angle[i], minus_two))
        quarter = _quarter(angle[i])
        odd = quarter & np.uint32(1) != np.uint32(0)
        x, y = s if odd else c, c if odd else s
        left = quarter == np.uint32(1) or quarter == np.uint32(2)
        first[i] = r * (-x if left else x)
        second[i] = r * (-y if quarter > np.uint32(1) else y)


@inner
def _interleave(a: Array, b: Array, c: Array, d: Array, all: Array) -> None:
    for i in range(a.size):
        all[4 * i], all[4 * i + 1], all[4 * i + 2], all[4 * i + 3] = a[i], b[i], c[i], d[i]


# --- the corruptions ---------------------------------------------------------------------------------------


@inner
def _corrupt_block(
    code: int, amount: float, low: float, high: float, key: Array, x: Array, y: Array, block: int
) -> None:
    minus_two, start = y.dtype.type(-2), block * BLOCK
    x, y = x[start : start + BLOCK], y[start : start + BLOCK]
    n = (y.size + 3) // 4
    word = np.uint32(0)
    w0, w1 = scratch(QUARTER, word)[:n], scratch(QUARTER, word)[:n]
    w2, w3 = scratch(QUARTER, word)[:n], scratch(QUARTER, word)[:n]
    _philox(key, start // 4, w0, w1, w2, w3)
    if code == GAUSSIAN:
        z0, z1 = scratch(QUARTER, y)[:n], scratch(QUARTER, y)[:n]
        z2, z3 = scratch(QUARTER, y)[:n], scratch(QUARTER, y)[:n]
        _box_muller(w0, w1, minus_two, z0, z1)
        _box_muller(w2, w3, minus_two, z2, z3)
        z = scratch(BLOCK, y)
        _interleave(z0, z1, z2, z3, z)
        std = y.dtype.type(amount)
        for i in range(y.size):
            noisy = x[i] + std * z[i]
            noisy = low if noisy < low else noisy
            y[i] = high if noisy > high else noisy
    else:
        w = scratch(BLOCK, word)
        _interleave(w0, w1, w2, w3, w)
        hit = np.uint64(amount * 2**32)  # so that word < hit with probability `amount`
        half = np.uint64(amount * 2**31) if code == SALT_AND_PEPPER else hit
        for i in range(y.size):
            salted = high if np.uint64(w[i]) < hit else x[i]
            y[i] = low if np.uint64(w[i]) < half else salted


@Kernel(integer, double, number, number, words, vector, vector_out)
def _corrupt_kernel(
    context: int, code: int, amount: float, low: float, high: float, key: Array, x: Array, y: Array
) -> None:
    """y = x + amount · normals within [low, high]; or `low` where struck, with salt and pepper `high` as often."""
    parallel_for(context, (y.size + BLOCK - 1) // BLOCK, CYCLES, _corrupt_block, (code, amount, low, high, key, x, y))


# --- the twins ---------------------------------------------------------------------------------


@twin
def gaussian_noise(x: Array, key: Array, std: float, low: float, high: float) -> Array:
    return _corrupt(GAUSSIAN, x, key, std, low, high)


@twin
def masking_noise(x: Array, key: Array, fraction: float) -> Array:
    return _corrupt(MASKING, x, key, fraction, 0.0, 0.0)


@twin
def salt_and_pepper(x: Array, key: Array, fraction: float, low: float, high: float) -> Array:
    return _corrupt(SALT_AND_PEPPER, x, key, fraction, low, high)


def _corrupt(code: int, x: Array, key: Array, amount: float, low: float, high: float) -> Array:
    if key.shape != (1,) or key.dtype != np.uint64:
        raise ValueError(f"noise expected its key as uint64 of shape (1,), got {key.dtype} of shape {key.shape}.")
    y = aligned(x.shape, x.dtype)
    run(_corrupt_kernel[x.dtype], code, amount, low, high, key, flat(x), y.reshape(-1))
    return y
