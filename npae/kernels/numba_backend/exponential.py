"""exp in plain arithmetic, so that a loop around it is vectorised.

numba calls the C library's exp for each element, and LLVM does not vectorise a loop with a call. This exp consists of
additions and multiplications. With n the integer nearest to x / log 2 and r = x - n log 2,

    exp(x) = 2^n exp(r),    |r| <= log(2) / 2 = 0.347,    exp(r) - 1 = r + r²/2! + r³/3! + ...

The series ends after r⁷/7! in float32 and r¹³/13! in float64; the remainder is far below one unit in the last place.
Adding 1.5 · 2^23 to x / log 2 (2^52 in float64) rounds it to n, without a conversion: the sum has no bits for a
fraction, so n is in its lowest bits. Shifted to the place of the exponent, these bits make 2^n. log 2 is subtracted in
two parts. The first has so few bits that its product with n is exact.

The kernels need only x = -t with t >= 0. These are the largest errors over 10⁶ points, in units in the last place of
the exact result (`tests/kernels/test_exponential.py` measures them):

                      float32     float64
    exp(-t)              1.1         1.1        t up to 87.3 and 708.3; beyond, exp(-t) is 0
    exp(-t) - 1          1.1         1.1        all t

Source: Cody and Waite, 1980, "Software manual for the elementary functions", chapter 6.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from npae.kernels.numba_backend.compile import INNER_OPTIONS

LOG_2 = Fraction("0.6931471805599453094172321214581765680755")


class Precision(NamedTuple):
    """The constants of one floating-point format."""

    real: Any
    fraction: int  # bits of the fraction, below those of the exponent
    bias: int  # of the exponent
    largest: float  # the largest t with a normal exp(-t)
    high: float  # the first part of log 2
    degree: int  # of the series
    bits: ir.Type
    float: ir.Type


PRECISIONS: dict[Any, Precision] = {
    types.float32: Precision(np.float32, 23, 127, 87.3, 355 / 512, 7, ir.IntType(32), ir.FloatType()),
    types.float64: Precision(np.float64, 52, 1023, 708.3, 0xB17217F7 / 2**32, 13, ir.IntType(64), ir.DoubleType()),
}


@intrinsic
def _power_of_two(typing_context, shifted, rounder):
    """2^n, where shifted = rounder + n."""
    precision = PRECISIONS[shifted]

    def emit(context, builder, signature, arguments):
        shifted, rounder = (builder.bitcast(argument, precision.bits) for argument in arguments)
        exponent = builder.add(builder.sub(shifted, rounder), precision.bits(precision.bias))
        return builder.bitcast(builder.shl(exponent, precision.bits(precision.fraction)), precision.float)

    return shifted(shifted, shifted), emit


def _parts(t: float) -> tuple[float, float]:
    """exp(r) - 1 and 2^n, with exp(-t) = 2^n exp(r)."""
    raise NotImplementedError


@overload(_parts, jit_options=INNER_OPTIONS)
def _compiled_parts(t):
    precision = PRECISIONS[t]
    real = precision.real
    rounder, per_log_2 = real(1.5 * 2**precision.fraction), real(1 / math.log(2))
    largest, high, low = real(precision.largest), real(precision.high), real(LOG_2 - Fraction(precision.high))
    highest = real(1 / math.factorial(precision.degree))
    series = tuple(real(1 / math.factorial(k)) for k in range(precision.degree - 1, 1, -1))

    def parts(t):
        x = -(largest if t > largest else t)  # NaN stays NaN, since the comparison is false
        shifted = x * per_log_2 + rounder
        n = shifted - rounder
        r = (x - n * high) - n * low
        total = highest
        for coefficient in series:
            total = total * r + coefficient
        return total * r * r + r, _power_of_two(shifted, rounder)

    return parts


def exp_of_minus(t: float) -> float:
    """exp(-t) for t >= 0. Only compiled code can call it."""
    raise NotImplementedError


@overload(exp_of_minus, jit_options=INNER_OPTIONS)
def _compiled_exp_of_minus(t):
    largest, zero = (PRECISIONS[t].real(value) for value in (PRECISIONS[t].largest, 0))

    def exp(t):
        p, scale = _parts(t)
        return zero if t > largest else p * scale + scale

    return exp


def expm1_of_minus(t: float) -> float:
    """exp(-t) - 1 for t >= 0, without cancellation near 0. Only compiled code can call it."""
    raise NotImplementedError


@overload(expm1_of_minus, jit_options=INNER_OPTIONS)
def _compiled_expm1_of_minus(t):
    one = PRECISIONS[t].real(1)

    def expm1(t):
        p, scale = _parts(t)
        return p * scale + (scale - one)

    return expm1
