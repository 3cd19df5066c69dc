"""Optimizers: how a gradient becomes a step.

    w <- w - rate · dL/dw        downhill, as far as the gradient of one batch can tell (Cauchy, 1847, for all data;
                                 Robbins and Monro, 1951, "A stochastic approximation method", for a noisy part)

An optimizer is a recipe that never changes; what it remembers between steps is a state of its own:

    state = adam.init(parameters, steps=1000)
    adam.step(parameters, state)                # reads each .grad, changes each .value in place

The learning rate, how long a step is, is a number or one of `schedules.py`. `init` is told the number of steps so
that a schedule knows how far training has come.

Next: `networks.py`, layers in the shape of an autoencoder, and then the loop that trains them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from npae import kernels
from npae.arrays import Array, aligned
from npae.estimator.arguments import as_count, as_flag, as_real
from npae.parameter import Parameter
from npae.schedules import Constant, Schedule


@dataclass
class State:
    """What an optimizer remembers: the steps done, of how many, and its moments for each parameter.

    `numbers` are the scalars of the step at hand, in an array that stays where it is.
    """

    done: int
    steps: int | None
    moments: list[tuple[Array, ...]] = field(repr=False)
    numbers: Array = field(repr=False)


@dataclass(frozen=True)
class Optimizer:
    """What all optimizers share: a learning rate, and the contract `init` and `step`.

    A step has two parts, because the first is a few scalars and the second all the work, the same at every
    step: `prepare` sets `state.numbers`, `apply` runs the kernel that goes by them. Subclass both, or `step`.

    Example
    -------
    >>> class SignDescent(Optimizer):
    ...     def init(self, parameters, steps=None): return self._state(parameters, steps, moments=0, numbers=0)
    ...     def prepare(self, state): state.done += 1
    ...     def apply(self, parameters, state):
    ...         for p in parameters: p.value -= self.learning_rate * np.sign(p.grad)
    >>> w = Parameter(np.ones(1), "w"); w.grad[:] = 9.0
    >>> sign = SignDescent(0.25); sign.step([w], sign.init([w]))
    >>> w.value.tolist()
    [0.75]
    """

    only_kernels = False  # see `blocks.only_kernels`

    learning_rate: float | Schedule = 1e-3

    def __post_init__(self) -> None:
        if not isinstance(self.learning_rate, Schedule):
            as_real(self.learning_rate, type(self).__name__, "learning_rate", low=0)

    def init(self, parameters: Sequence[Parameter], steps: int | None = None) -> State:
        """A fresh state; `steps` is how many will be taken, which a schedule other than a constant must know.

        Raises ValueError if it must and is not told.
        """
        raise NotImplementedError

    def step(self, parameters: Sequence[Parameter], state: State) -> None:
        """One step down the gradient: changes every `.value` and the state in place."""
        _check_parameters(parameters, f"{type(self).__name__}.step")
        if not isinstance(state, State) or len(state.moments) != len(parameters):
            raise TypeError(
                f"{type(self).__name__}.step expected the state that init returned for its parameters, got {state!r}: "
                "pass state = optimizer.init(parameters)."
            )
        self.prepare(state)
        self.apply(parameters, state)

    def prepare(self, state: State) -> None:
        """Count the step and set the numbers that it goes by."""
        raise NotImplementedError

    def apply(self, parameters: Sequence[Parameter], state: State) -> None:
        """Go the step that has been prepared."""
        raise NotImplementedError

    def rate(self, state: State) -> float:
        """The learning rate of the step about to be taken: a schedule starts at share 0 and ends at 1."""
        if not isinstance(self.learning_rate, Schedule):
            return self.learning_rate
        last = (state.steps or 1) - 1
        return self.learning_rate(min(1.0, state.done / last) if last else 0.0)

    def _state(self, parameters: Sequence[Parameter], steps: int | None, moments: int, numbers: int) -> State:
        caller = type(self).__name__
        _check_parameters(parameters, f"{caller}.init")
        if steps is not None:
            as_count(steps, f"{caller}.init", "steps", at_least=0)
        elif isinstance(self.learning_rate, Schedule) and not isinstance(self.learning_rate, Constant):
            raise ValueError(
                f"{caller}.init expected the number of steps for {self.learning_rate}, got None: pass steps=..., "
                "or, in a fit, batches whose __len__ is known."
            )
        m = [tuple(aligned(p.value.shape, p.value.dtype, fill=0) for _ in range(moments)) for p in parameters]
        return State(0, steps, m, np.zeros(numbers))


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked.

        v <- momentum · v + g
        w <- w - rate · v                       or, with nesterov:  w <- w - rate · (g + momentum · v)

    Parameters
    ----------
    learning_rate : float or Schedule
    momentum : float in [0, 1)
    nesterov : bool
        Look ahead along the velocity; it needs momentum.

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

    only_kernels = True

    learning_rate: float | Schedule = 1e-2
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        as_real(self.momentum, "SGD", "momentum", low=0, high=1, without=1)
        if as_flag(self.nesterov, "SGD", "nesterov") and self.momentum == 0:
            raise ValueError("SGD expected momentum > 0 with nesterov=True, got 0: pass momentum=0.9, for example.")

    def init(self, parameters: Sequence[Parameter], steps: int | None = None) -> State:
        return self._state(parameters, steps, moments=1, numbers=3)

    def prepare(self, state: State) -> None:
        state.numbers[:] = self.rate(state), self.momentum, self.nesterov
        state.done += 1

    def apply(self, parameters: Sequence[Parameter], state: State) -> None:
        for p, (v,) in zip(parameters, state.moments, strict=True):
            kernels.of(p.value, p.grad).sgd(p.value, p.grad, v, state.numbers)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: each weight's step is its mean gradient over its root mean square gradient.

        m <- beta1 m + (1 - beta1) g            v <- beta2 v + (1 - beta2) g²
        m_hat = m / (1 - beta1^t)               v_hat = v / (1 - beta2^t)
        w <- w - rate · (m_hat / (sqrt(v_hat) + eps) + weight_decay · w)

    m and v start at zero; dividing by 1 - beta^t (t counts steps from 1) takes that bias out, so the first
    step has the size of the learning rate. The decay is decoupled: it shrinks w and does not enter m and v.

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

    only_kernels = True

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

    def init(self, parameters: Sequence[Parameter], steps: int | None = None) -> State:
        return self._state(parameters, steps, moments=2, numbers=7)

    def prepare(self, state: State) -> None:
        rate, t = self.rate(state), state.done + 1
        correction1, correction2 = 1 - self.beta1**t, 1 - self.beta2**t
        state.numbers[:] = (
            rate, self.beta1, self.beta2, self.eps, correction1, correction2, rate * self.weight_decay
        )  # fmt: skip
        state.done += 1

    def apply(self, parameters: Sequence[Parameter], state: State) -> None:
        for p, (m, v) in zip(parameters, state.moments, strict=True):
            kernels.of(p.value, p.grad).adam(p.value, p.grad, m, v, state.numbers)


def _check_parameters(parameters: Sequence[Parameter], caller: str) -> None:
    if not isinstance(parameters, list | tuple) or not all(isinstance(p, Parameter) for p in parameters):
        raise TypeError(f"{caller} expected a list of parameters, got {parameters!r}: pass network.parameters(), say.")


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam}
