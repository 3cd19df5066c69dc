"""Batches: the rows that the network sees next, from a table in memory, a memory map, or an iterable.

    array           each epoch draws one permutation of all rows and cuts it into batches
    memory map      the same, up to 1 GiB: a map gives the same bits as an array (joblib passes arrays on as maps)
    larger map      each epoch permutes blocks of 1 MB of neighbouring rows, reads 32 blocks at a time, and shuffles
                    their rows together: the file is read in long stretches
    iterable        its batches are taken in its order, one step each

Every row is used once an epoch. Shuffled blocks are less random than shuffled rows: shuffle a sorted file once when
you write it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sized
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from npae.estimator.validation import as_table, normalized_weights
from npae.kernels import kernel
from npae.kernels.arrays import Array, ArrayLike, mapped
from npae.losses import Loss

LARGE = 2**30  # bytes: the rows of larger memory maps are shuffled in blocks
BLOCK = 2**20  # bytes of a block
POOL = 32  # blocks whose rows are shuffled together

Indices: TypeAlias = "NDArray[np.int64]"


@kernel
def take(x: Array, rows: Indices) -> Array:
    """The given rows of x (N, d), as a batch."""
    batch: Array = x[rows]
    return batch


class TableBatches:
    """Shuffled rows of an array or a memory map.

    A batch is a vector of row numbers, and the step itself fetches the rows. If the table has another dtype or order
    than the network needs, a batch is the converted rows.

    `width` and `dtype` are those of x, `steps` is the number of batches in an epoch (None if unknown).
    """

    def __init__(
        self, X: Array, batch_size: int, weight: Array | None, dtype: np.dtype[Any], held_out: int = 0
    ) -> None:
        self.X, self.batch_size, self.weight = X, batch_size, weight
        self.width, self.dtype = X.shape[1], dtype
        self.held_out, self.kept = held_out, np.empty(0, np.int64)  # see `hold_out`
        self.steps: int | None = math.ceil((len(X) - held_out) / batch_size)
        self.block = max(1, BLOCK // X[0].nbytes) if mapped(X) and X.nbytes > LARGE else len(X)
        self.convert = X.dtype != dtype or not X.flags.c_contiguous

    def epoch(self, rng: np.random.Generator) -> Iterator[tuple[Array, Array | None]]:
        """The batches of one epoch, and the weights of their rows. `rows` turns a batch into x."""
        for numbers in shuffled_batches(len(self.X) - self.held_out, self.batch_size, self.block, rng):
            rows = self.kept[numbers] if self.held_out else numbers
            weight = None if self.weight is None else self.weight[rows]
            yield (self.X[rows].astype(self.dtype) if self.convert else rows), weight

    def hold_out(self, rng: np.random.Generator) -> tuple[Array, Array | None]:
        """Set `held_out` rows aside, in order; return them and their weights, of mean 1. Epochs use the other rows."""
        self.kept, held = split_rows(len(self.X), self.held_out, rng)
        x, weight = np.ascontiguousarray(self.X[held], self.dtype), None
        if self.weight is not None:
            ours, theirs = self.weight[self.kept].mean(), self.weight[held].mean()
            if not (ours > 0 and theirs > 0):
                raise ValueError(
                    "fit expected weights above 0 among the rows to learn from and among those held out, got only "
                    "zeros: leave out the rows of weight 0, or choose another validation_fraction."
                )
            weight, self.weight = self.weight[held] / theirs, self.weight / ours
        return x, weight

    def rows(self, batch: Array) -> Array:
        """x (n, width) of a batch. It works in kernels alone, so that it can be part of a recorded step."""
        return batch if self.convert else take(self.X, batch)

    def example(self) -> Array:
        """A row or rows, to try the network on: two if there are, since the product of one row is another kernel."""
        return self.X[:2].astype(self.dtype)

    def sample(self, rows: int) -> Array:
        """At most so many rows, evenly spaced."""
        return self.X[:: math.ceil(len(self.X) / rows)]


class StreamBatches:
    """The arrays (n, d) that an iterable yields, each checked when it arrives and used as one batch."""

    def __init__(self, source: Iterable[ArrayLike], loss: Loss, caller: str, epochs: int, **spec: Any) -> None:
        self.source, self.loss, self.caller = source, loss, caller
        self.iterator: Iterator[ArrayLike] | None = iter(source)
        if self.iterator is source and epochs > 1:
            raise TypeError(
                f"{caller} expected an iterable of batches that can be run through {epochs} times, once an epoch, got "
                f"{source!r}, which is used up after the first: pass an object whose __iter__ begins again."
            )
        self.steps = len(source) if isinstance(source, Sized) else None
        first = next(self._checked(self.iterator, **spec), None)
        if first is None:
            raise ValueError(f"{caller} expected at least one batch, got none from {source!r}: pass some data.")
        self.first: Array = first
        self.width, self.dtype = self.first.shape[1], self.first.dtype

    def epoch(self, rng: np.random.Generator) -> Iterator[tuple[Array, Array | None]]:
        source: Iterable[ArrayLike] = self.source
        if self.iterator is not None:  # the first epoch continues the iterator that gave the first batch
            source, self.iterator = chain([self.first], self.iterator), None
        for x in self._checked(source, width=self.width, dtype=self.dtype):
            yield x, None

    def rows(self, batch: Array) -> Array:
        return batch

    def example(self) -> Array:
        return self.first

    def sample(self, rows: int) -> Array:
        return self.first[:rows]

    def _checked(self, source: Iterable[ArrayLike], **spec: Any) -> Iterator[Array]:
        for number, batch in enumerate(source, start=1):
            x = as_table(batch, self.caller, name=f"batch {number}", **spec)
            self.loss.check_target(x)
            yield x


Batches: TypeAlias = "TableBatches | StreamBatches"


def as_batches(
    X: Any,
    sample_weight: Any,
    loss: Loss,
    caller: str,
    *,
    batch_size: int,
    epochs: int,
    fraction: float | None = None,
    **spec: Any,
) -> Batches:
    """The batches of a table, a memory map or an iterable, checked. `spec` is the required width and dtype, if any.

    `fraction` is the share of the rows that will be held out.

    Raises TypeError or ValueError if X is none of these, or holds values that the network or the loss cannot take.
    """
    if is_stream(X):
        if fraction is not None:
            raise ValueError(
                f"{caller} expected no validation_fraction with an iterable of batches, got {fraction}: rows can be "
                "held out of a table only, so pass validation=, or X as one array (a memory map, if it is large)."
            )
        if sample_weight is not None:
            raise ValueError(
                f"{caller} expected no sample_weight with an iterable of batches, got one: weights belong to the rows "
                "of a table, so pass X as one array (a memory map, if it is large)."
            )
        return StreamBatches(X, loss, caller, epochs, **spec)
    table = as_table(X, caller, keep_memmap=True, **spec)
    loss.check_target(table)
    dtype = as_table(table[:1], caller, **spec).dtype
    weight = None if sample_weight is None else normalized_weights(sample_weight, len(table), caller).astype(dtype)
    held_out = 0 if fraction is None else max(1, round(fraction * len(table)))
    if held_out == len(table):
        raise ValueError(
            f"{caller} expected rows to learn from besides those held out, got {len(table)} rows and "
            f"validation_fraction={fraction}: pass more rows or a smaller share."
        )
    return TableBatches(table, batch_size, weight, dtype, held_out)


def is_stream(X: Any) -> bool:
    """Whether X can only be iterated over: not an array, a sequence, or an object that converts to an array."""
    known = ("__array__", "__array_interface__", "__dataframe__", "__getitem__", "toarray")
    return isinstance(X, Iterable) and not any(hasattr(X, name) for name in known)


def split_rows(n: int, held_out: int, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """The numbers 0..n-1 in two parts, drawn at random: those to learn from, and `held_out` others. Both rise.

    Example
    -------
    >>> kept, held = split_rows(5, 2, np.random.default_rng(0))
    >>> len(kept), len(held), sorted([*kept.tolist(), *held.tolist()])
    (3, 2, [0, 1, 2, 3, 4])
    """
    rows = rng.permutation(n)
    return np.sort(rows[held_out:]), np.sort(rows[:held_out])


def shuffled_batches(n: int, batch_size: int, block: int, rng: np.random.Generator) -> Iterator[Indices]:
    """The numbers 0..n-1, each once, shuffled block by block, in batches of `batch_size`; the last may be smaller.

    Example
    -------
    >>> batches = list(shuffled_batches(10, 4, 10, np.random.default_rng(0)))
    >>> [len(rows) for rows in batches], sorted(np.concatenate(batches).tolist()) == list(range(10))
    ([4, 4, 2], True)
    """
    blocks = rng.permutation(math.ceil(n / block))
    rest = np.empty(0, np.int64)
    for first in range(0, len(blocks), POOL):
        pool = [np.arange(b * block, min(n, (b + 1) * block)) for b in blocks[first : first + POOL]]
        rows = np.concatenate(pool)
        rng.shuffle(rows)
        rows = np.concatenate([rest, rows])
        is_last = first + POOL >= len(blocks)
        end = len(rows) if is_last else len(rows) // batch_size * batch_size
        for start in range(0, end, batch_size):
            yield rows[start : start + batch_size]
        rest = rows[end:]
