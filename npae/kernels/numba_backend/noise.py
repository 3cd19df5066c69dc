"""Random numbers as a function of a key and an index, so that any number of threads draws the same numbers.

Philox turns a counter and a key into four words of 32 bits. Each of its ten rounds multiplies, permutes, and mixes in
the key. Element i of an array takes its word from the counter i // 4, in whichever thread. `npae.corruptions.philox` is
the specification. Box and Muller's formula turns pairs of words into normal numbers. Logarithm, sine and cosine are
series here, since LLVM does not vectorise a loop that calls the C library's.

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
    CompiledLoop,
    double,
    inner,
    integer,
    scalar,
    vector,
    vector_out,
    words,
)
from npae.kernels.numba_backend.elementwise import BLOCK, block_count
from npae.kernels.numba_backend.parallel import parallel_for
from npae.kernels.numba_backend.recording import run
from npae.kernels.numba_backend.scratch import scratch
from npae.kernels.numba_backend.twins import flat, twin

I32 = ir.IntType(32)
COUNTERS = BLOCK // 4  # of a block: each gives the words of four elements
GAUSSIAN, MASKING, SALT_AND_PEPPER = range(3)
CYCLES = 5 * BLOCK  # of a block, roughly
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)  # the mask of a low half; the bits of a half
M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)  # multipliers
W0, W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # added to the key after each round


@inner
def _philox(key: Array, first: int, w0: Array, w1: Array, w2: Array, w3: Array) -> None:
    """The four words of each counter first, first + 1, ..."""
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


# --- from words to normal numbers ----------------------------------------------------------------------------


@intrinsic
def _uniform(typing_context, word, like):
    """u = ((word >> 9) + 1/2) 2^-23: in (0, 1), and exact in float32."""

    def emit(context, builder, signature, arguments):
        real = arguments[1].type
        integer = builder.sitofp(builder.lshr(arguments[0], I32(9)), real)
        return builder.fmul(builder.fadd(integer, real(0.5)), real(2.0**-23))

    return like(types.uint32, like), emit


@intrinsic
def _nearest_quarter(typing_context, word):
    """The quarter turn, 0 to 3, that is nearest to an angle of word 2^-32 turns."""

    def emit(context, builder, signature, arguments):
        return builder.lshr(builder.add(arguments[0], I32(1 << 29)), I32(30))

    return types.uint32(types.uint32), emit


@intrinsic
def _offset_from_quarter(typing_context, word, like):
    """The angle minus that quarter turn, in quarter turns: in [-1/2, 1/2)."""

    def emit(context, builder, signature, arguments):
        real = arguments[1].type
        return builder.fmul(builder.sitofp(builder.shl(arguments[0], I32(2)), real), real(2.0**-32))

    return like(types.uint32, like), emit


@intrinsic
def _significand_and_exponent(typing_context, x):
    """m and k with x = m 2^k and m in [1/√2, √2), for x > 0: read from the bits of x."""
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
    """log x for x > 0."""
    raise NotImplementedError


@overload(_log, jit_options=INNER_OPTIONS)
def _compiled_log(x):
    real, terms = (np.float32, 5) if x == types.float32 else (np.float64, 11)
    one, two, log_2 = real(1), real(2), real(math.log(2))
    last = real(1 / (2 * terms - 1))
    series = tuple(real(1 / k) for k in range(2 * terms - 3, 0, -2))

    def log(x):
        m, k = _significand_and_exponent(x)  # log m = 2 (s + s³/3 + s⁵/5 + ...) with s = (m - 1) / (m + 1)
        s = (m - one) / (m + one)
        total = last
        for coefficient in series:
            total = total * (s * s) + coefficient
        return k * log_2 + two * s * total

    return log


def _cos_and_sin(x: float) -> tuple[float, float]:
    """cos and sin of x quarter turns, |x| <= 1/2."""
    raise NotImplementedError


@overload(_cos_and_sin, jit_options=INNER_OPTIONS)
def _compiled_cos_and_sin(x):
    real, terms = (np.float32, 6) if x == types.float32 else (np.float64, 10)
    quarter = real(math.pi / 2)
    cos_last = real((-1) ** terms / math.factorial(2 * terms))
    cos_series = tuple(real((-1) ** k / math.factorial(2 * k)) for k in range(terms - 1, -1, -1))
    sin_last = real((-1) ** terms / math.factorial(2 * terms + 1))
    sin_series = tuple(real((-1) ** k / math.factorial(2 * k + 1)) for k in range(terms - 1, -1, -1))

    def cos_and_sin(x):
        x = x * quarter
        square = x * x
        c, s = cos_last, sin_last
        for coefficient in cos_series:
            c = c * square + coefficient
        for coefficient in sin_series:
            s = s * square + coefficient
        return c, s * x

    return cos_and_sin


@inner
def _box_muller(u: Array, angle: Array, minus_two: float, first: Array, second: Array) -> None:
    """r cos a and r sin a with r = sqrt(-2 log u). The quarter turn of a swaps and negates cos and sin."""
    for i in range(u.size):
        r = math.sqrt(minus_two * _log(_uniform(u[i], minus_two)))
        c, s = _cos_and_sin(_offset_from_quarter(angle[i], minus_two))
        quarter = _nearest_quarter(angle[i])
        odd = quarter & np.uint32(1) != np.uint32(0)
        x, y = s if odd else c, c if odd else s
        negative = quarter == np.uint32(1) or quarter == np.uint32(2)
        first[i] = r * (-x if negative else x)
        second[i] = r * (-y if quarter > np.uint32(1) else y)


@inner
def _interleave(a: Array, b: Array, c: Array, d: Array, out: Array) -> None:
    """a[0], b[0], c[0], d[0], a[1], ..."""
    for i in range(a.size):
        out[4 * i], out[4 * i + 1], out[4 * i + 2], out[4 * i + 3] = a[i], b[i], c[i], d[i]


@inner
def _normals(key: Array, start: int, size: int, z: Array) -> None:
    """z = the normal numbers from number `start` on, `size` of them, rounded up to whole counters; z has BLOCK."""
    minus_two, n, word = z.dtype.type(-2), (size + 3) // 4, np.uint32(0)
    w0, w1 = scratch(COUNTERS, word)[:n], scratch(COUNTERS, word)[:n]
    w2, w3 = scratch(COUNTERS, word)[:n], scratch(COUNTERS, word)[:n]
    _philox(key, start // 4, w0, w1, w2, w3)
    z0, z1 = scratch(COUNTERS, z)[:n], scratch(COUNTERS, z)[:n]
    z2, z3 = scratch(COUNTERS, z)[:n], scratch(COUNTERS, z)[:n]
    _box_muller(w0, w1, minus_two, z0, z1)
    _box_muller(w2, w3, minus_two, z2, z3)
    _interleave(z0, z1, z2, z3, z)


@inner
def normals_block(key: Array, z: Array, block: int) -> None:
    """One block of z = the normal numbers of the key."""
    start = block * BLOCK
    z, normals = z[start : start + BLOCK], scratch(BLOCK, z)
    _normals(key, start, z.size, normals)
    for i in range(z.size):
        z[i] = normals[i]


# --- the corruptions -----------------------------------------------------------------------------------------


@inner
def _corrupt_block(
    code: int, amount: float, low: float, high: float, key: Array, x: Array, y: Array, block: int
) -> None:
    start = block * BLOCK
    x, y = x[start : start + BLOCK], y[start : start + BLOCK]
    if code == GAUSSIAN:
        z = scratch(BLOCK, y)
        _normals(key, start, y.size, z)
        std = y.dtype.type(amount)
        for i in range(y.size):
            noisy = x[i] + std * z[i]
            noisy = low if noisy < low else noisy
            y[i] = high if noisy > high else noisy
    else:
        n, word = (y.size + 3) // 4, np.uint32(0)
        w0, w1 = scratch(COUNTERS, word)[:n], scratch(COUNTERS, word)[:n]
        w2, w3 = scratch(COUNTERS, word)[:n], scratch(COUNTERS, word)[:n]
        _philox(key, start // 4, w0, w1, w2, w3)
        w = scratch(BLOCK, word)
        _interleave(w0, w1, w2, w3, w)
        salt_below = np.uint64(amount * 2**32)  # word < salt_below with probability `amount`
        pepper_below = np.uint64(amount * 2**31) if code == SALT_AND_PEPPER else salt_below
        for i in range(y.size):
            salted = high if np.uint64(w[i]) < salt_below else x[i]
            y[i] = low if np.uint64(w[i]) < pepper_below else salted


@CompiledLoop(integer, double, scalar, scalar, words, vector, vector_out)
def corrupt_loop(
    context: int, code: int, amount: float, low: float, high: float, key: Array, x: Array, y: Array
) -> None:
    """y = x + amount · normals, clipped to [low, high]; or low or high with probability `amount`, else x."""
    parallel_for(context, block_count(y.size), CYCLES, _corrupt_block, (code, amount, low, high, key, x, y))


def check_key(key: Array) -> None:
    """Raise ValueError unless the key is one that compiled code can read."""
    if key.shape != (1,) or key.dtype != np.uint64:
        raise ValueError(f"noise expected its key as uint64 of shape (1,), got {key.dtype} of shape {key.shape}.")


def _corrupt(code: int, x: Array, key: Array, amount: float, low: float, high: float) -> Array:
    check_key(key)
    y = aligned(x.shape, x.dtype)
    run(corrupt_loop, x.dtype, code, amount, low, high, key, flat(x), y.reshape(-1))
    return y


@twin
def gaussian_noise(x: Array, key: Array, std: float, low: float, high: float) -> Array:
    return _corrupt(GAUSSIAN, x, key, std, low, high)


@twin
def masking_noise(x: Array, key: Array, fraction: float) -> Array:
    return _corrupt(MASKING, x, key, fraction, 0.0, 0.0)


@twin
def salt_and_pepper(x: Array, key: Array, fraction: float, low: float, high: float) -> Array:
    return _corrupt(SALT_AND_PEPPER, x, key, fraction, low, high)
