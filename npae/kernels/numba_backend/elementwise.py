"""How loops over single elements are cut into tasks.

Each element-wise kernel loops over flat arrays, in blocks that fit the first-level cache. The inner loops are plain and
left to the vectoriser, which needs them free of calls and of numbers of another precision, and counted from 0 (numba
must know that an index is not negative, which would count from the end): hence slices, constants of the arrays' own
dtype, `exponential` instead of `math.exp`, and the choice of the function outside the loop.
"""

from __future__ import annotations

BLOCK = 4096  # elements in a task: 16 kB of float32, half a first-level cache

# The cycles of a task, about: a job is shared if its tasks take long enough to repay that (see `pool`).
LIGHT, STEP, CURVED, LIKELIHOOD, SIMILARITY = BLOCK // 2, 2 * BLOCK, 2 * BLOCK, 4 * BLOCK, 60 * BLOCK
