"""The kernels compiled by numba, on all cores: a twin for each `@kernel` of npae, registered by name in `TWINS`.

    products      dense, matmul                     tile          the innermost loop of a product, as LLVM instructions
    sums          column_sums                       packing       operands copied to where a tile reads them fast
    copies        take, copy                        exponential   exp without a call, so that loops become vectors
    activations   relu, sigmoid, tanh, ...          elementwise   how loops over single elements are cut into tasks
    losses        mse, bce, ssim_map                scratch       memory of a task
    optimizers    sgd, adam                         twins         the registry, and checks of arrays
    noise         gaussian_noise, masking_noise     compile       how a function becomes machine code

    parallel      loops shared among threads, and recordings that replay a training step
    pool          the threads
    atomics       atomic words and locks, which threads need and numba does not offer

The same bits come out for any number of threads: task count and size do not depend on it, and sums are taken within a
task in order, then over the tasks in order. This folder is all that imports numba; `npae.kernels` imports it when first
needed.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite.binding import llvm_version_info

from npae.kernels.numba_backend import activations, copies, losses, noise, optimizers, products, sums, tile
from npae.kernels.numba_backend.parallel import cancel_recording, recomputed, recorded
from npae.kernels.numba_backend.pool import pool, threads
from npae.kernels.numba_backend.twins import TWINS

__all__ = ["TWINS", "after_fork", "cancel_recording", "describe", "name", "recomputed", "recorded"]
__all__ += ["activations", "copies", "losses", "noise", "optimizers", "products", "sums"]  # imported for their twins

name = "numba"


def describe() -> dict[str, Any]:
    """What `backend_info` adds to the name."""
    processor, _ = tile.host()
    shape = tile.SHAPE
    return {
        "numba": numba.__version__,
        "llvm": ".".join(map(str, llvm_version_info)),
        "threads": threads(),
        "processor": processor,
        "vector_bytes": shape.bytes,
        "tile": f"{shape.heights[0]} x {shape.vectors} vectors",
    }


def after_fork() -> None:
    pool.reset()
