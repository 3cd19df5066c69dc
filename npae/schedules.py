"""Learning rates: how long the steps are, and when.

A schedule is a function of the share of training that is done, from 0 to 1: long steps first, to get near, short ones
at the end, so that the noise of small batches no longer throws the weights about (Robbins and Monro, 1951).

A side room of the reading path, used by `optimizers.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from npae.estimator.arguments import as_real


class Schedule:
    """A learning rate that depends on progress: `schedule(share)`, with share in [0, 1] of the steps done.

    Example
    -------
    >>> class Falling(Schedule):
    ...     def __call__(self, share): return 0.1 * (1 - share)
    >>> Falling()(0.25)
    0.07500000000000001
    """

    def __call__(self, share: float) -> float:
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Schedule):
    """rate(s) = rate.

    Example
    -------
    >>> Constant(0.1)(0.5)
    0.1
    """

    rate: float

    def __post_init__(self) -> None:
        as_real(self.rate, "Constant", "rate", low=0)

    def __call__(self, share: float) -> float:
        return self.rate


@dataclass(frozen=True)
class Cosine(Schedule):
    """rate(s) = end + (start - end) (1 + cos(pi s)) / 2: half a wave down, slow at both ends.

    Source: Loshchilov and Hutter, 2017, "SGDR: stochastic gradient descent with warm restarts", equation 5.

    Example
    -------
    >>> rate = Cosine(0.1)
    >>> rate(0.0), round(rate(0.5), 12), rate(1.0)
    (0.1, 0.05, 0.0)
    """

    start: float
    end: float = 0.0

    def __post_init__(self) -> None:
        as_real(self.start, "Cosine", "start", low=0)
        as_real(self.end, "Cosine", "end", low=0)

    def __call__(self, share: float) -> float:
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * share)) / 2
