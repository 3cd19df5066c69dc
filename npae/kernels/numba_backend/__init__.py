"""The kernels compiled by numba, on all cores: a twin for each `@kernel` of npae, registered by name in `TWINS`.

    products      dense, matmul                     tile          the innermost loop of a product, as LLVM instructions
    epilogues     rectifiers moved into products    packing       copies of a and b in the order in which a tile reads
    rows          the product of a single row       caches        the sizes of the processor's caches
    sums          column_sums, all_finite           rectify       rectifiers within a product's store
    copies        take, copy                        exponential   exp without a call, so that loops are vectorised
    activations   relu, sigmoid, tanh, ...          elementwise   element-wise loops in blocks
    losses        mse, bce, bce_rows, ...           scratch       temporary arrays on the stack
    optimizers    sgd, adam                         twins         the registry, and checks of arrays
    noise         gaussian_noise, masking_noise     compile       from a Python function to machine code
    arithmetic    add, multiply                     plans         how the work of a product is divided
    codes         gaussian_code, gaussian_kl

    recording     a step noted once, and replayed
    blocks        a step on one block of rows after the other, on all threads
    parallel      parallel loops, whose jobs are run or recorded
    pool          the threads
    atomics       atomic words and locks

The bits of a result do not depend on the number of threads, since no sum depends on it: each task sums in order, and
the sums of the tasks are added in order. Only this folder imports numba. `npae.kernels` imports it on first use.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite.binding import llvm_version_info

from npae.kernels.numba_backend import (
    activations,
    arithmetic,
    codes,
    copies,
    epilogues,
    losses,
    noise,
    optimizers,
    products,
    sums,
    tile,
)
from npae.kernels.numba_backend.blocks import blockwise
from npae.kernels.numba_backend.caches import second_level_cache
from npae.kernels.numba_backend.pool import pool, threads
from npae.kernels.numba_backend.recording import cancel_recording, recomputed, recorded
from npae.kernels.numba_backend.twins import TWINS

__all__ = ["TWINS", "after_fork", "blockwise", "cancel_recording", "describe", "name", "recomputed", "recorded"]
__all__ += [
    "activations",
    "arithmetic",
    "codes",
    "copies",
    "epilogues",
    "losses",
    "noise",
    "optimizers",
    "products",
    "sums",
]  # imported for their twins

name = "numba"


def describe() -> dict[str, Any]:
    """The entries of `backend_info` besides the backend and how it was chosen."""
    processor, _ = tile.host()
    shape = tile.SHAPE
    return {
        "numba": numba.__version__,
        "llvm": ".".join(map(str, llvm_version_info)),
        "threads": threads(),
        "processor": processor,
        "vector_bytes": shape.bytes,
        "tile": f"{shape.heights[0]} x {shape.vectors} vectors",
        "l2_bytes": second_level_cache(),
    }


def after_fork() -> None:
    """Forget the threads of the parent process."""
    pool.reset()
