"""Element-wise loops: how they are divided into blocks, and how they are written so that LLVM vectorises them.

Each element-wise kernel loops over flat arrays. A task is one block of BLOCK elements, which fits in the first-level
cache. LLVM vectorises an inner loop if

    it calls no function                          `exponential.py` replaces `math.exp`
    all its numbers have the dtype of the array   constants are cast before the loop
    its indices count from 0                      else numba checks for negative ones: hence slices
    it does not choose between functions          the choice is made outside of the loop
"""

from __future__ import annotations

from npae.kernels.numba_backend.compile import inner

BLOCK = 4096  # elements: 16 kB of float32, half of a first-level cache
LIGHT = BLOCK // 2  # cycles of a block, roughly, in a loop of a few additions and multiplications


@inner
def block_count(size: int) -> int:
    """How many blocks `size` elements fill; the last may be smaller."""
    return (size + BLOCK - 1) // BLOCK
