"""From three plain loops to most of the machine's speed: the matrix product c = a b, one idea on each rung.

A product of n x n matrices uses each number n times. It is fast if the number is in a cache then, or in a register.

Run it: about 15 seconds. It checks each rung against NumPy, times it, and draws `figures/08_matmul_ladder.png`: the
rungs under the machine's limit. Read beside it: npae/kernels/numba_backend/tile.py and its neighbours.
Now try n = 1024: `naive` falls to a third of its speed or less, because a column of b competes for few cache lines.
Now try HIGH = 1: every row of c loads all of b again, and `blocked` is hardly faster than `reordered`.
"""

import sys
from pathlib import Path

import numpy as np

import npae
from npae.layers import matmul

try:
    from numba import njit, prange
except ImportError:
    sys.exit('this demo needs numba: pip install "npae[demos]"')
sys.path.append(str(Path(__file__).parent))
from peak import climb, register_tile

FIGURE = Path(__file__).parent / "figures" / "08_matmul_ladder.png"
BAR = 10  # the least ratio of the last rung's speed to the first's
HIGH, DEEP = 50, 8  # rows in a block of c and of b; the block of b fits in the L1 cache


@njit
def naive(a, b, c):
    """The definition. Every step goes down a column of b, to another cache line, for a single number."""
    for i, j in np.ndindex(c.shape):
        total = np.float32(0)
        for k in range(len(b)):
            total += a[i, k] * b[k, j]
        c[i, j] = total


@njit(fastmath={"contract"})  # x y + z may be one instruction
def reordered(a, b, c):
    """j is the innermost loop: it reads rows of b and c in memory order, and the compiler vectorizes it."""
    c[:] = 0
    for i, k in np.ndindex(a.shape):
        for j in range(len(b[0])):
            c[i, j] += a[i, k] * b[k, j]


def blocks(a, b, c):
    """DEEP rows of b stay in the cache for HIGH rows of c; each c, once loaded, takes four products, not one."""
    c[:] = 0
    for i0 in prange((len(a) + HIGH - 1) // HIGH):
        for k0 in range(0, len(b), DEEP):
            for i in range(i0 * HIGH, min(i0 * HIGH + HIGH, len(a))):
                for k in range(k0, min(k0 + DEEP, len(b)), 4):
                    c_i, b0, b1, b2, b3 = c[i], b[k], b[k + 1], b[k + 2], b[k + 3]
                    for j in range(len(c_i)):
                        c_i[j] += a[i, k] * b0[j] + a[i, k + 1] * b1[j] + a[i, k + 2] * b2[j] + a[i, k + 3] * b3[j]


def main(path=FIGURE, n=800):
    npae.use_backend("numba")
    cores = npae.backend_info()["threads"]
    rungs = {  # name: (function, cores, matrices moved between a core's own caches and the memory beyond them)
        "naive": (naive, 1, n + 2),  # all of b for every row of a
        "reordered": (reordered, 1, n + 2),
        "blocked": (njit(fastmath={"contract"})(blocks), 1, n / HIGH + 2),  # all of b for every block of rows
        "parallel": (njit(fastmath={"contract"}, parallel=True)(blocks), cores, n / HIGH + 2),  # cores share the prange
        "register tile": (register_tile, cores, n / 160 + 2),  # c for every 320 k
        "packed": (matmul, cores, n / 160 + 2),  # a and b copied into the order in which the tiles read them
    }
    first, *_, last = climb(path, rungs, n, cores)
    print(f"the last rung is {last / first:.0f} times as fast as naive loops (must be at least {BAR})")
    return 0 if last >= BAR * first else 1


if __name__ == "__main__":
    sys.exit(main())
