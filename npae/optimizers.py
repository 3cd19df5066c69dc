"""Optimizers: how a gradient becomes a step.

    w <- w - rate · dL/dw        downhill, as far as the gradient of one batch can tell (Cauchy, 1847, for all data;
                                 Robbins and Monro, 1951, "A stochastic approximation method", for a noisy part)

An optimizer is a recipe that never changes. What it remembers between steps is a separate state:

    state = adam.init(parameters, total_steps=1000)
    adam.step(parameters, state)                # reads each .grad, changes each .value in place

The learning rate is a number or a schedule, a function of the fraction of training that is done.

Next: `corruptions.py`, noise for the denoising autoencoder; then `training.py`, the loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from npae.estimator.arguments import as_count, as_flag, as_real
from npae.kernels import kernel, recomputed
from npae.kernels.arrays import Array, aligned
from npae.layers import Parameter


class Schedule:
    """A learning rate that depends on progress: `schedule(t)` for t in [0, 1], the fraction of the steps done.

    Example
    -------
    >>> class Falling(Schedule):
    ...     def __call__(self, t): return 0.1 * (1 - t)
    >>> Falling()(0.25)
    0.07500000000000001
    """

    def __call__(self, t: float) -> float:
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Schedule):
    """rate(t) = rate.

    Example
    -------
    >>> Constant(0.1)(0.5)
    0.1
    """

    rate: float

    def __post_init__(self) -> None:
        as_real(self.rate, "Constant", "rate", low=0)

    def __call__(self, t: float) -> float:
        return self.rate


@dataclass(frozen=True)
class Cosine(Schedule):
    """rate(t) = end + (start - end) (1 + cos(pi t)) / 2: half a cosine wave from start to end, flat at both ends.

    Long steps first get near a minimum; short steps last average out the noise of the batches.

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

    def __call__(self, t: float) -> float:
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * t)) / 2


@dataclass
class State:
    """What an optimizer remembers: the steps done, the steps planned (if known), and moments for each parameter."""

    step: int
    total_steps: int | None
    moments: list[tuple[Array, ...]] = field(repr=False)


@dataclass(frozen=True)
class Optimizer:
    """A learning rate, and the contract `init` and `step`. A subclass defines `update`, and says how many `moments`.

    Example
    -------
    >>> class SignDescent(Optimizer):
    ...     def update(self, parameters, state):
    ...         for p in parameters: p.value -= self.rate(state) * np.sign(p.grad)
    ...         state.step += 1
    >>> w = Parameter(np.ones(1), "w"); w.grad[:] = 9.0
    >>> sign = SignDescent(0.25); sign.step([w], sign.init([w]))
    >>> w.value.tolist()
    [0.75]
    """

    moments = 0  # arrays of the shape of each parameter that the state holds

    learning_rate: float | Schedule = 1e-3

    def __post_init__(self) -> None:
        if not isinstance(self.learning_rate, Schedule):
            as_real(self.learning_rate, type(self).__name__, "learning_rate", low=0)

    def init(self, parameters: Sequence[Parameter], total_steps: int | None = None) -> State:
        """A state with zero moments. A schedule other than a constant needs `total_steps`, else ValueError."""
        caller = f"{type(self).__name__}.init"
        _check_parameters(parameters, caller)
        if total_steps is not None:
            as_count(total_steps, caller, "total_steps", at_least=0)
        elif isinstance(self.learning_rate, Schedule) and not isinstance(self.learning_rate, Constant):
            raise ValueError(
                f"{caller} expected total_steps for {self.learning_rate}, got None: pass total_steps=..., or, in a "
                "fit, batches whose __len__ is known."
            )
        shapes = [(p.value.shape, p.value.dtype) for p in parameters]
        return State(0, total_steps, [tuple(aligned(*s, fill=0) for _ in range(self.moments)) for s in shapes])

    def step(self, parameters: Sequence[Parameter], state: State) -> None:
        """One step down the gradient: changes every `.value` and the state in place."""
        caller = f"{type(self).__name__}.step"
        _check_parameters(parameters, caller)
        if not isinstance(state, State) or len(state.moments) != len(parameters):
            raise TypeError(
                f"{caller} expected the state that init returned for its parameters, got {state!r}: "
                "pass state = optimizer.init(parameters)."
            )
        self.update(parameters, state)

    def update(self, parameters: Sequence[Parameter], state: State) -> None:
        """`step` without checks: changes every `.value` and the moments, and counts the step."""
        raise NotImplementedError

    def rate(self, state: State) -> float:
        """The learning rate of the next step. A schedule starts at t = 0 and ends at t = 1 with the last step."""
        if not isinstance(self.learning_rate, Schedule):
            return self.learning_rate
        last = (state.total_steps or 1) - 1
        return self.learning_rate(min(1.0, state.step / last) if last else 0.0)


@kernel
def sgd(value: Array, grad: Array, v: Array, scalars: Array) -> None:
    rate, momentum, nesterov = scalars.tolist()
    v *= momentum
    v += grad
    value -= rate * (grad + momentum * v if nesterov else v)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with optional momentum.

        v <- momentum · v + g
        w <- w - rate · v                       or, with nesterov:  w <- w - rate · (g + momentum · v)

    Parameters
    ----------
    learning_rate : float or Schedule
    momentum : float in [0, 1)
    nesterov : bool
        Take the gradient step from the point that the velocity leads to. Needs momentum > 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Source: Sutskever, Martens, Dahl and Hinton, 2013, "On the importance of initialization and momentum in
    deep learning", equations 1 to 4, with the velocity in units of the gradient.

    Example
    -------
    >>> import numpy as np
    >>> w = Parameter(np.array([1.0]), "w"); w.grad[:] = 2.0
    >>> sgd = SGD(0.1); sgd.step([w], sgd.init([w]))
    >>> w.value.tolist()
    [0.8]
    """

    moments = 1

    learning_rate: float | Schedule = 1e-2
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        as_real(self.momentum, "SGD", "momentum", low=0, high=1, without=1)
        if as_flag(self.nesterov, "SGD", "nesterov") and self.momentum == 0:
            raise ValueError("SGD expected momentum > 0 with nesterov=True, got 0: pass momentum=0.9, for example.")

    def update(self, parameters: Sequence[Parameter], state: State) -> None:
        scalars = recomputed(lambda: self._next_scalars(state))
        for p, (v,) in zip(parameters, state.moments, strict=True):
            sgd(p.value, p.grad, v, scalars)

    def _next_scalars(self, state: State) -> tuple[float, ...]:
        rate = self.rate(state)
        state.step += 1
        return rate, self.momentum, float(self.nesterov)


@kernel
def adam(value: Array, grad: Array, m: Array, v: Array, scalars: Array) -> None:
    rate, beta1, beta2, eps, correction1, correction2, decay = scalars.tolist()
    m *= beta1
    m += (1 - beta1) * grad
    v *= beta2
    v += (1 - beta2) * grad * grad
    direction = (m / correction1) / (np.sqrt(v / correction2) + eps)
    value -= rate * direction + decay * value


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: the step of each weight is its mean gradient over the root of its mean squared gradient.

        m <- beta1 m + (1 - beta1) g            v <- beta2 v + (1 - beta2) g²
        m_hat = m / (1 - beta1^t)               v_hat = v / (1 - beta2^t)               t = 1, 2, ...
        w <- w - rate · (m_hat / (sqrt(v_hat) + eps) + weight_decay · w)

    m and v start at zero. Dividing by 1 - beta^t removes that bias, so the first step has the size of the learning
    rate. The decay is decoupled: it shrinks w and does not enter m and v.

    Parameters
    ----------
    learning_rate : float or Schedule
    beta1, beta2 : float in [0, 1)
    eps : float > 0
    weight_decay : float >= 0

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Source: Kingma and Ba, 2015, "Adam: a method for stochastic optimization", algorithm 1; the decay from
    Loshchilov and Hutter, 2019, "Decoupled weight decay regularization", algorithm 2.

    Example
    -------
    >>> import numpy as np
    >>> w = Parameter(np.array([1.0]), "w"); w.grad[:] = 123.0
    >>> adam = Adam(0.001); adam.step([w], adam.init([w]))
    >>> w.value.round(6).tolist()
    [0.999]
    """

    moments = 2

    learning_rate: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        as_real(self.beta1, "Adam", "beta1", low=0, high=1, without=1)
        as_real(self.beta2, "Adam", "beta2", low=0, high=1, without=1)
        as_real(self.eps, "Adam", "eps", low=0, without=0)
        as_real(self.weight_decay, "Adam", "weight_decay", low=0)

    def update(self, parameters: Sequence[Parameter], state: State) -> None:
        scalars = recomputed(lambda: self._next_scalars(state))
        for p, (m, v) in zip(parameters, state.moments, strict=True):
            adam(p.value, p.grad, m, v, scalars)

    def _next_scalars(self, state: State) -> tuple[float, ...]:
        rate = self.rate(state)
        state.step = t = state.step + 1
        correction1, correction2 = 1 - self.beta1**t, 1 - self.beta2**t
        return rate, self.beta1, self.beta2, self.eps, correction1, correction2, rate * self.weight_decay


def _check_parameters(parameters: Sequence[Parameter], caller: str) -> None:
    if not isinstance(parameters, list | tuple) or not all(isinstance(p, Parameter) for p in parameters):
        raise TypeError(f"{caller} expected a list of parameters, got {parameters!r}: pass network.parameters(), say.")


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam}
