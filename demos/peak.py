"""The roofline: the machine's limits of computing and of loading, and a picture of programs under them.

`peak` keeps all cores busy with fused multiply-adds (x y + z, two operations in one instruction) on numbers that
never leave the registers. No program computes faster. `bandwidth` copies memory. A program that does I operations
for each byte it moves does at most min(peak, bandwidth · I) operations a second. That is the roofline.

Source: Williams, Waterman and Patterson, 2009, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52(4). Read beside it: demos/08_matmul_ladder.py.
"""

import sys
import threading
import time

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from npae import plots
from npae.kernels.numba_backend.plans import IN_PLACE, plan_tiles
from npae.kernels.numba_backend.products import product_loop
from npae.kernels.numba_backend.recording import run
from npae.kernels.numba_backend.rectify import NONE
from npae.kernels.numba_backend.tile import SHAPE

LANES = SHAPE.bytes // 4  # floats in a vector
SUMS = SHAPE.vectors * SHAPE.heights[0]  # vectors, as many as in a register tile; they are independent


@intrinsic
def _burn(typing_context, steps):
    """Update SUMS vectors by s -> s / 2 + 1 / 2 in every step; return a number that depends on all of them."""

    def emit(context, builder, signature, arguments):
        vector, i64 = ir.VectorType(ir.FloatType(), LANES), ir.IntType(64)
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        half, k, sums = ir.Constant(vector, [0.5] * LANES), builder.phi(i64), [builder.phi(vector) for _ in range(SUMS)]
        new = [builder.fmul(s, half, flags=["contract"]) for s in sums]
        new = [builder.fadd(s, half, flags=["contract"]) for s in new]  # one instruction together with fmul
        for i in range(SUMS):
            sums[i].add_incoming(ir.Constant(vector, [float(i)] * LANES), before)
            sums[i].add_incoming(new[i], loop)
        k.add_incoming(i64(1), before)
        k.add_incoming(builder.add(k, i64(1)), loop)
        builder.cbranch(builder.icmp_signed("<", k, arguments[0]), loop, after)
        builder.position_at_end(after)
        while len(new) > 1:
            new.append(builder.fadd(new.pop(), new.pop()))
        return builder.extract_element(new[0], ir.IntType(32)(0))

    return types.float32(types.int64), emit


@njit("float32(int64)", nogil=True)
def burn(steps):
    return _burn(steps)


def fastest(work, threads, runs=20):
    """The least seconds, over `runs` runs, in which `threads` threads all finish work(thread)."""
    seconds = []
    for _ in range(runs):
        team = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
        started = time.perf_counter()
        for thread in team:
            thread.start()
        for thread in team:
            thread.join()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def peak(threads, steps=500_000):
    """The most GFLOP/s that `threads` cores reach."""
    return threads * steps * SUMS * LANES * 2 / fastest(lambda thread: burn(steps), threads) / 1e9


def bandwidth(size, threads):
    """GB/s, read and written, when `threads` cores repeatedly copy arrays of `size` bytes in all."""
    x = np.ones((threads, size // 4 // threads), np.float32)
    y, times = np.ones_like(x), max(1, 2**28 // size)

    def copy(thread):
        for _ in range(times):
            np.copyto(y[thread], x[thread])

    return 2 * x.nbytes * times / fastest(copy, threads) / 1e9


def register_tile(a, b, c):
    """c = a b by npae's register tile, which reads a and b where they lie: another page of memory for each row."""
    plan = plan_tiles(*c.shape, len(b), c.itemsize, True, True)._replace(packing_a=IN_PLACE, packing_b=IN_PLACE)
    run(product_loop, c.dtype, a, b, np.zeros(len(c), c.dtype), c, plan.numbers(), NONE, c, 0.0)


def climb(path, rungs, n, threads):
    """Check and time every rung, print the table, draw the picture; return the GFLOP/s in the order of the rungs.

    `rungs` is {name: (multiply, cores, moved)}. multiply(a, b, c) computes on that many cores. `moved` is a model: how
    many n x n matrices move between a core's own caches and the memory beyond them. The rung does 2 n³ operations on
    moved · 4 n² bytes.
    """
    if n % 4:
        raise ValueError(f"climb expected n to be a multiple of 4, got {n}: choose {n + 4 - n % 4}.")
    rng, a, b, c = np.random.default_rng(0), aligned(n), aligned(n), aligned(n)
    for x in (a, b):
        rng.standard_normal(dtype=np.float32, out=x)
    expected, highest, rates, errors = a @ b, 0.0, {}, {}
    rungs = rungs | {"NumPy's a @ b": (lambda a, b, c: np.matmul(a, b, out=c), threads, None)}
    for name, (multiply, _, _) in rungs.items():
        c[:] = np.nan
        multiply(a, b, c)  # compile before timing
        errors[name] = np.abs(c - expected).max()
        if not np.allclose(c, expected, rtol=1e-4, atol=1e-6 * n):
            raise SystemExit(f"{name}: up to {errors[name]:.1e} away from NumPy's product, must be near it.")
        time.sleep(0.2)  # until the other library's threads are asleep
        highest = max(highest, peak(threads))
        rates[name] = 2 * n**3 / median_seconds(multiply, a, b, c) / 1e9
        print(f"{name}: {rates[name]:.1f} GFLOP/s", file=sys.stderr)
    slopes = {"the cache": bandwidth(a.nbytes, threads), "memory": bandwidth(2**28, threads)}

    print(f"c = a b, {n} x {n}, float32; the peak of {threads} cores is {highest:.0f} GFLOP/s")
    print("                     GFLOP/s   of peak   x rung before   largest error")
    before = None
    for name, rate in rates.items():
        step = f"{rate / before:.1f}" if before and rungs[name][2] else ""
        print(f"  {name:18}{rate:8.1f}{rate / highest:10.0%}{step:>16}{errors[name]:16.1e}")
        before = rate
    draw(path, {name: (rates[name], *rungs[name][1:]) for name in rungs}, n, highest, slopes)
    return list(rates.values())[:-1]


def aligned(n):
    """An n x n matrix aligned to a cache line; else a vector may lie on two lines, and loading it costs both."""
    numbers = np.empty(n * n + 16, np.float32)
    first = -numbers.ctypes.data % 64 // 4
    return numbers[first : first + n * n].reshape(n, n)


def median_seconds(multiply, a, b, c, together=0.7):
    """The median over runs that take `together` seconds in all, and over at least three."""
    seconds = []
    while len(seconds) < 3 or sum(seconds) < together:
        started = time.perf_counter()
        multiply(a, b, c)
        seconds.append(time.perf_counter() - started)
    return np.median(seconds)


def draw(path, rungs, n, highest, slopes):
    """Left: the rungs {name: (GFLOP/s, cores, moved)} under the roof. Right: their share of the peak."""
    fig = plots.figure(9.6, 4.3)
    roof, bars = fig.subplots(1, 2, width_ratios=[1.3, 1])
    x = np.geomspace(0.12, 250, 300)
    for (source, slope), style in zip(slopes.items(), ("-", "--"), strict=True):
        label = f"roof, if all comes from {source} ({slope:.0f} GB/s)"
        roof.plot(x, np.minimum(highest, slope * x), style, color="black", linewidth=1.2, label=label)
    for row, (name, (rate, cores, moved)) in enumerate(rungs.items()):
        colour = plots.GREY if moved is None else plots.BLUE if cores == 1 else plots.ORANGE
        bars.barh(row, rate, color=colour)
        side, ink, align = (-1, "white", "right") if rate > highest / 2 else (1, "black", "left")
        number = f"{rate:.0f}  ({rate / highest:.0%})"
        bars.text(rate + side * 0.02 * highest, row, number, va="center", ha=align, color=ink, fontsize=9)
        if moved is not None:
            at = n / (2 * moved), rate
            places = {"parallel": ((-8, 0), "right"), "packed": ((8, 10), "left")}  # near another rung
            place, align = places.get(name, ((8, -7), "left"))
            roof.plot(*at, "o", color=colour, markersize=7)
            white = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            roof.annotate(name, at, place, textcoords="offset points", va="center", ha=align, fontsize=9, bbox=white)
    for colour, name in ((plots.BLUE, "on one core"), (plots.ORANGE, "on all cores")):
        roof.plot([], [], "o", color=colour, label=name)
    roof.loglog()
    rates = [rate for rate, _, _ in rungs.values()]
    title = "the speed of each rung, below the machine's limit"
    plots.style_axes(roof, title, "operations per byte to or from a core, a model (FLOP/B)", "speed (GFLOP/s)")
    roof.set_ylim(min(rates) / 7, 2 * highest)
    roof.legend(frameon=False, fontsize=8, loc="lower right")
    bars.axvline(highest, color="black", linewidth=1.2)
    bars.text(highest, -0.6, "peak ", ha="right", fontsize=9)
    bars.set_yticks(range(len(rungs)), list(rungs))
    plots.style_axes(bars, "speed, and share of the peak", "speed (GFLOP/s)")
    bars.set(xlim=(0, 1.05 * max(highest, *rates)), ylim=(len(rungs) - 0.5, -0.95))
    plots.save(fig, path)
