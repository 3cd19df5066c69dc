"""Batches: which rows the network sees next, whether all data lie in memory or not.

    in memory           each epoch draws one permutation of all rows and cuts it into minibatches
    in a memory map     the same, so that it gives the same bits, up to 1 GiB: joblib hands arrays of more than 1 MB to
                        other processes as maps
    in a larger map     each epoch draws a permutation of blocks of neighbouring rows, 1 MB each, takes 32 of them
                        at a time, and shuffles their rows together: the file is read in stretches, not row by row
    from an iterable    what it yields is taken as it comes, one step for each batch: the order is its own affair

Every row is seen once an epoch. Shuffled blocks are not quite as random as shuffled rows: a file whose rows are
sorted, by class for instance, should be shuffled once when it is written.

A side room of the reading path, used by `training.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sized
from itertools import chain
from typing import Any, Protocol

import numpy as np

from npae import kernels
from npae.arrays import Array, ArrayLike, mapped
from npae.estimator.validation import as_table, normalized_weights
from npae.losses import Loss

LARGE = 2**30  # bytes of a memory map beyond which its rows are not read one by one
BLOCK = 2**20  # bytes of such a map that are read in one go
POOL = 32  # blocks whose rows are shuffled together


class Batches(Protocol):
    """The data of a fit, batch by batch: its width and dtype, and how many batches there are, if that is known.

    A batch is an item to be put into a `place`; `rows` gives the x that belongs to it. So for a table the items are
    row numbers, and fetching the rows is part of the step. Beside each item comes what its rows weigh, (n,), or None.
    """

    width: int
    dtype: np.dtype[Any]
    steps: int | None

    def epoch(self, rng: np.random.Generator) -> Iterator[tuple[Array, Array | None]]:
        """The items of one epoch, each as long as its batch, and their weights."""

    def place(self, item: Array) -> Array:
        """Where such an item fits."""

    def rows(self, place: Array) -> Array:
        """x (n, width) of the item in that place."""

    def example(self) -> Array:
        """The first row or rows, to try the network on."""


class Table:
    """Rows of an array in its own dtype, in memory or in a memory map; shuffled."""

    def __init__(self, X: Array, batch_size: int, weight: Array | None) -> None:
        self.X, self.batch_size, self.weight = X, batch_size, weight
        self.width, self.dtype = X.shape[1], X.dtype
        self.steps: int | None = math.ceil(len(X) / batch_size)
        self.block = max(1, BLOCK // X[0].nbytes) if mapped(X) and X.nbytes > LARGE else len(X)

    def epoch(self, rng: np.random.Generator) -> Iterator[tuple[Array, Array | None]]:
        for rows in minibatches(len(self.X), self.batch_size, self.block, rng):
            yield rows, None if self.weight is None else self.weight[rows]

    def place(self, item: Array) -> Array:
        return np.empty(len(item), np.int64)

    def rows(self, place: Array) -> Array:
        return kernels.of(self.X).take(self.X, place)

    def example(self) -> Array:
        return self.X[:1]


class Itself:
    """What batches have in common whose items are the rows themselves."""

    def place(self, item: Array) -> Array:
        return np.empty_like(item)

    def rows(self, place: Array) -> Array:
        return place


class Converted(Itself, Table):
    """Rows of a memory map that are of another dtype or order than the network's; converted batch by batch."""

    def __init__(self, X: Array, batch_size: int, weight: Array | None, dtype: np.dtype[Any]) -> None:
        super().__init__(X, batch_size, weight)
        self.dtype = dtype

    def epoch(self, rng: np.random.Generator) -> Iterator[tuple[Array, Array | None]]:
        for rows, weight in super().epoch(rng):
            yield self.X[rows].astype(self.dtype), weight

    def example(self) -> Array:
        return self.X[:1].astype(self.dtype)


class Stream(Itself):
    """What an iterable of arrays yields, each a batch (n, d), checked as it comes."""

    def __init__(self, source: Iterable[ArrayLike], loss: Loss, caller: str, passes: int, **form: Any) -> None:
        self.source, self.loss, self.caller = source, loss, caller
        self.iterator: Iterator[ArrayLike] | None = iter(source)
        if self.iterator is source and passes > 1:
            raise TypeError(
                f"{caller} expected an iterable of batches that can be run through {passes} times, once an epoch, got "
                f"{source!r}, which is used up after the first: pass an object whose __iter__ begins anew."
            )
        self.steps = len(source) if isinstance(source, Sized) else None
        first = next(self._checked(self.iterator, **form), None)
        if first is None:
            raise ValueError(f"{caller} expected at least one batch, got none from {source!r}: pass some data.")
        self.first: Array = first
        self.width, self.dtype = self.first.shape[1], self.first.dtype

    def epoch(self, rng: np.random.Generator) -> Iterator[tuple[Array, Array | None]]:
        again: Iterable[ArrayLike] = self.source
        if self.iterator is not None:  # the first epoch goes on where the look at the first batch has stopped
            again, self.iterator = chain([self.first], self.iterator), None
        for x in self._checked(again, width=self.width, dtype=self.dtype):
            yield x, None

    def example(self) -> Array:
        return self.first

    def _checked(self, source: Iterable[ArrayLike], **form: Any) -> Iterator[Array]:
        for number, batch in enumerate(source, start=1):
            x = as_table(batch, self.caller, name=f"batch {number}", **form)
            self.loss.check_target(x)
            yield x


def batches_of(
    X: Any, sample_weight: Any, loss: Loss, caller: str, *, batch_size: int, passes: int, **form: Any
) -> Batches:
    """The batches of a table, a memory map or an iterable, checked; `form` is the width and the dtype, if known.

    Raises TypeError or ValueError if X is none of these, or holds what the network or the loss cannot take.
    """
    if is_stream(X):
        if sample_weight is not None:
            raise ValueError(
                f"{caller} expected no sample_weight with an iterable of batches, got one: weights belong to the rows "
                "of a table, so pass X as one array (a memory map, if it is large)."
            )
        return Stream(X, loss, caller, passes, **form)
    table = as_table(X, caller, keep_memmap=True, **form)
    loss.check_target(table)
    dtype = as_table(table[:1], caller, **form).dtype
    weight = None
    if sample_weight is not None:
        weight = normalized_weights(sample_weight, len(table), caller).astype(dtype)
    if table.dtype != dtype or not table.flags.c_contiguous:
        return Converted(table, batch_size, weight, dtype)
    return Table(table, batch_size, weight)


def is_stream(X: Any) -> bool:
    """Whether X can only be run through: no array, nothing that becomes one, no sequence."""
    known = ("__array__", "__array_interface__", "__dataframe__", "__getitem__", "toarray")
    return isinstance(X, Iterable) and not any(hasattr(X, name) for name in known)


def minibatches(n: int, batch_size: int, block: int, rng: np.random.Generator) -> Iterator[Array]:
    """The numbers 0..n-1, each once, in batches of `batch_size` (the last may be smaller), shuffled as said above.

    Example
    -------
    >>> batches = list(minibatches(10, 4, 10, np.random.default_rng(0)))
    >>> [len(rows) for rows in batches], sorted(np.concatenate(batches).tolist()) == list(range(10))
    ([4, 4, 2], True)
    """
    blocks = rng.permutation(math.ceil(n / block))
    left = np.empty(0, np.int64)
    for first in range(0, len(blocks), POOL):
        pool = [np.arange(b * block, min(n, (b + 1) * block)) for b in blocks[first : first + POOL]]
        rows = np.concatenate(pool)
        rng.shuffle(rows)
        rows = np.concatenate([left, rows])
        whole = len(rows) // batch_size * batch_size if first + POOL < len(blocks) else len(rows)
        for start in range(0, whole, batch_size):
            yield rows[start : start + batch_size]
        left = rows[whole:]
