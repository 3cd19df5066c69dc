"""Is the gradient right? Compare it with what the function itself does when its input moves a little.

Central differences:  df/dx ≈ (f(x + h) - f(x - h)) / 2h.  The truncation error falls as h², the rounding
error grows as 1/h; in float64 with h near 1e-5 both are some 1e-10 for numbers of ordinary size. Numbers need not be
of ordinary size: pixels may run to 255, and a mean over a million elements has derivatives of 1e-8. So the error is
held against the size of the gradient; h grows with the number that it moves, and where f is large beside its
derivatives; and what rounding and truncation may have done to the difference, its doubt, is granted: an element
passes if

    |a - n| <= tolerance · size + doubt         a analytic, n numeric, size the largest |a| or |n| of the array
    doubt = 16 ε F / h + |n(2h) - n(h)|         ε = 2.2e-16, F = |f| + sum |df/dy · y| for the network's output y

Complex step:  df/dx = Im f(x + ih) / h.  Nothing is subtracted, so h = 1e-20 gives every digit, where f is
analytic and its code runs on complex numbers (Squire and Trapp, 1998, SIAM Review 40, 110-112).

A whole gradient is checked through one number: either a loss, or sum(v * y) with a random v, whose gradient
by y is v itself. Both the input and every parameter are moved, one element at a time.

Across a kink, such as ReLU's at 0, a difference is no derivative. A layer with kinks says on which `branches`
its last forward pass went; an element whose move changes a branch is left out, and counted.

This module knows nothing of layers: whatever has `forward`, `backward` and `parameters` can be checked.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from npae.estimator.arguments import as_count, as_flag, as_generator, as_real
from npae.estimator.validation import as_table
from npae.kernels.arrays import Array, ArrayLike, RandomState
from npae.layers import Parameter

TOLERANCE = {"central": 1e-7, "complex": 1e-12}
STEP = {"central": 1e-5, "complex": 1e-20}
DIGITS = 1e-5  # of a gradient's size: where rounding would leave it less, a central difference takes a longer step
LONGER = 10.0  # at most so many times as long
ROUNDING = 16 * float(np.finfo(np.float64).eps)  # relative to F, in the difference of two values of f
TINY = float(np.finfo(np.float64).tiny)  # what is smaller has no digits


class Differentiable(Protocol):
    """What can be checked: a layer, a `Sequential`, or your own object with these three."""

    def forward(self, x: Array) -> Array: ...
    def backward(self, grad_y: Array) -> Array: ...
    def parameters(self) -> list[Parameter]: ...


@dataclass(frozen=True)
class Comparison:
    """One array's gradient beside its numeric twin, at its worst element.

    `size` is the largest |analytic| or |numeric| of the array, `doubt` how far rounding and truncation may have moved
    `numeric`.
    """

    name: str
    shape: tuple[int, ...]
    checked: int
    kinks: int
    size: float
    doubt: float
    index: tuple[int, ...]
    analytic: float
    numeric: float

    @property
    def error(self) -> float:
        """|analytic - numeric| / size; NaN if nothing was compared, infinity if a number is NaN."""
        difference = abs(self.analytic - self.numeric)
        if self.checked and np.isnan(difference):
            return np.inf
        return difference / self.size if difference else 0.0

    @property
    def excess(self) -> float:
        """What of |analytic - numeric| is beyond doubt, relative to the size."""
        return max(0.0, self.error - self.doubt / self.size) if self.error else 0.0

    def rank(self, tolerance: float) -> tuple[float, float]:
        """What makes one worse than another: an excess above the tolerance, then the error."""
        return max(self.excess, tolerance), self.error


@dataclass(frozen=True)
class GradientReport:
    """The outcome of `check_gradients`. `print(report)` shows it; `passed` is the verdict.

    Attributes
    ----------
    passed : bool
        Whether every array had an element to compare and no error exceeds its doubt by more than the tolerance.
    error : float
        |analytic - numeric| of the worst element, relative to the size of its array's gradient.
    worst : Comparison
        The array it was found in, with its index, the two values, their size and the doubt about the numeric one: what
        exceeds its doubt by most, or where nothing does so by more than the tolerance, the largest error.
    comparisons : tuple of Comparison
        One for the input, one for each parameter.
    tolerance : float
        What the error was held against.

    Example
    -------
    >>> import numpy as np, npae
    >>> report = npae.check_gradients(npae.Tanh(), np.eye(2), verbose=False)
    >>> report.passed, report.error < 1e-9, report.worst.name
    (True, True, 'input')
    """

    title: str
    comparisons: tuple[Comparison, ...]
    tolerance: float

    @property
    def worst(self) -> Comparison:
        return max(self.comparisons, key=lambda c: c.rank(self.tolerance) if c.checked else (-1.0, 0.0))

    @property
    def error(self) -> float:
        return self.worst.error

    @property
    def passed(self) -> bool:
        return all(map(self._right, self.comparisons))

    @property
    def kinks(self) -> int:
        return sum(c.kinks for c in self.comparisons)

    def __str__(self) -> str:
        lines = [f"gradients of {self.title}: {'ok' if self.passed else 'WRONG'}"]
        for c in self.comparisons:
            mark = " " if self._right(c) else "x"
            seen = f"{c.checked} of {int(np.prod(c.shape))}"
            kinks = f", {c.kinks} at a kink left out" if c.kinks else ""
            lines.append(f"  {mark} {c.name:<10} {c.shape!s:<12} {seen:>14} checked, error {c.error:.1e}{kinks}")
        w = self.worst
        place = f"{w.name}{list(w.index)}"
        lines.append(
            f"  worst {place}: analytic {w.analytic:.12g}, numeric {w.numeric:.12g}, "
            f"error {w.error:.1e} (tolerance {self.tolerance:.0e}, doubt {w.doubt / w.size if w.size else 0.0:.0e})"
        )
        return "\n".join(lines)

    def _right(self, c: Comparison) -> bool:
        return c.checked > 0 and c.excess <= self.tolerance


def check_gradients(
    model: Any,
    x: ArrayLike,
    *,
    loss: Any = None,
    target: ArrayLike | None = None,
    method: str = "central",
    step: float | None = None,
    tolerance: float | None = None,
    max_elements: int | None = 1000,
    random_state: RandomState = 0,
    verbose: bool = True,
) -> GradientReport:
    """Compare the gradients that `model` computes with numeric ones, and print the report.

    The check runs on a float64 copy: the model is not changed. Numeric gradients are, for each element w,

        central   (f(w + h) - f(w - h)) / 2h,   h = 1e-5 max(1, |w|), up to ten times as long where f is large
        complex   Im f(w + ih) / h,             h = 1e-20   (analytic functions only: no ReLU)

    They need not be of ordinary size: the module's docstring says what an error is held against.

    Parameters
    ----------
    model : layer, loss or fitted estimator
        A layer is checked through sum(v * y) with a random v (or through `loss`, where one is given);
        a loss through its own value; an estimator through the loss it minimises, for a `DAE` with the
        noise drawn once and the target clean.
    x : array (n, d)
        The layer's input, the loss's prediction, or the estimator's data.
    loss, target : optional
        The loss to put behind a layer, and the target of a loss (with the shape of its prediction).
    method : "central" or "complex"
    step : float, optional
        What stands for 1e-5 or 1e-20 above; it is not made longer.
    tolerance : float, optional
        The largest error that passes, relative to the gradient's size: by default 1e-7, and 1e-12 for the complex step.
    max_elements : int or None
        How many elements of each array to compare, drawn at random; None compares all.
    random_state : int, Generator or None
        Fixes v, the noise of a DAE, and the elements drawn.
    verbose : bool
        Whether to print the report.

    Returns
    -------
    GradientReport
        Elements with a kink within h are not compared; the report counts them.

    Raises
    ------
    TypeError, ValueError
        If the model cannot be checked or an argument is out of range.

    Example
    -------
    >>> import numpy as np, npae
    >>> rng = np.random.default_rng(0)
    >>> report = npae.check_gradients(npae.Dense(4, 3, rng=rng), rng.standard_normal((5, 4)), verbose=False)
    >>> report.passed, [c.name for c in report.comparisons]
    (True, ['input', 'W', 'b'])
    """
    caller = "check_gradients"
    if not isinstance(method, str) or method not in ("central", "complex"):
        raise ValueError(f"{caller} expected method 'central' or 'complex', got {method!r}: choose one of these.")
    verbose = as_flag(verbose, caller, "verbose")
    limit = None if max_elements is None else as_count(max_elements, caller, "max_elements")
    h = as_real(STEP[method] if step is None else step, caller, "step", low=0, without=0)
    tolerance = as_real(TOLERANCE[method] if tolerance is None else tolerance, caller, "tolerance", low=0)
    rng = as_generator(random_state, caller).spawn(1)[0]  # lest v be the very numbers of an x drawn with the same seed
    x = as_table(x, caller, name="x", dtype=np.float64)
    network, loss, x, target = _problem(model, x, loss, target, rng)
    parameters = network.parameters()

    # The gradients under test, by the model's own backward pass.
    y = network.forward(x)
    if loss is None:
        v = rng.standard_normal(y.shape)
        loss = lambda y, _: (np.sum(v * y), v)  # noqa: E731
    analytic = [network.backward(loss(y, target)[1]).copy(), *(p.grad.copy() for p in parameters)]

    # The same function of the same arrays, whose elements the numeric gradient moves in place.
    branches: Callable[[], list[Array]] = getattr(network, "branches", list)
    home = branches()
    if method == "complex":
        if home:
            raise ValueError(f"{caller} expected an analytic model for the complex step, got kinks: use 'central'.")
        x = x.astype(complex)
        for p in parameters:
            p.value = p.value.astype(complex)

    def scalar() -> tuple[Any, float]:
        """f, and F: how large the numbers are whose rounding f shows."""
        y = network.forward(x)
        value, grad_y = loss(y, target)
        return value, float(abs(value) + np.abs(grad_y * y).sum()) + getattr(loss, "offset", 0.0)

    def at_home() -> bool:
        """Whether the last forward pass went the same way at every kink as without a move."""
        return all(np.array_equal(a, b) for a, b in zip(branches(), home, strict=True))

    steps = [h] * len(analytic)
    if step is None and method == "central":
        F = scalar()[1]
        steps = [_long_enough(h, F, gradient) for gradient in analytic]
    arrays = [("input", x), *((p.name, p.value) for p in parameters)]
    report = GradientReport(
        type(model).__name__,
        tuple(
            _compare(name, scalar, at_home, array, gradient, h, method, tolerance, limit, rng)
            for (name, array), gradient, h in zip(arrays, analytic, steps, strict=True)
        ),
        tolerance,
    )
    if verbose:
        print(report)
    return report


class _Nothing:
    """The network in front of a loss that is checked on its own."""

    def forward(self, x: Array) -> Array:
        return x

    def backward(self, grad_y: Array) -> Array:
        return grad_y

    def parameters(self) -> list[Parameter]:
        return []


def _problem(
    model: Any, x: Array, loss: Any, target: Any, rng: np.random.Generator
) -> tuple[Differentiable, Any, Array, Array | None]:
    """A float64 copy of the network, and the loss, input and target that make a number of it."""
    caller = "check_gradients"
    network: Differentiable
    if hasattr(model, "objective"):  # an estimator: the very loss that its fit minimises
        if loss is not None or target is not None:
            raise ValueError(
                f"{caller} expected no loss and no target for {type(model).__name__}, which has its own, got one: "
                "check model.network_ to choose them."
            )
        network, loss, x, target = model.objective(x, rng)
    elif hasattr(model, "value_and_gradient"):  # a loss
        network, loss = _Nothing(), model
    elif all(hasattr(model, name) for name in ("forward", "backward", "parameters")):
        network = model
    else:
        raise TypeError(
            f"{caller} expected a layer, a loss or a fitted estimator, got {type(model).__name__}: "
            "give it `forward`, `backward` and `parameters`."
        )
    if loss is not None and (not callable(loss) or isinstance(loss, type)):
        raise TypeError(f"{caller} expected loss as an object such as npae.MSE(), got {loss!r}: pass one.")
    if (loss is None) != (target is None):
        raise ValueError(
            f"{caller} expected a loss and its target together, got loss {loss!r} and target {type(target).__name__}: "
            "pass both or none."
        )
    t = None if target is None else as_table(target, caller, name="target", dtype=np.float64)
    network = copy.deepcopy(network)
    for p in network.parameters():
        p.value, p.grad = p.value.astype(np.float64), np.zeros(p.value.shape)
    return network, loss, np.array(x, np.float64), t


def _long_enough(h: float, F: float, gradient: Array) -> float:
    """h, or up to LONGER times that, so that rounding leaves the gradient its first DIGITS."""
    size = max(DIGITS * float(np.abs(gradient).max()), TINY)
    return h * min(LONGER, max(1.0, ROUNDING * F / h / size))


def _compare(
    name: str,
    scalar: Callable[[], tuple[Any, float]],
    at_home: Callable[[], bool],
    array: Array,
    analytic: Array,
    h: float,
    method: str,
    tolerance: float,
    limit: int | None,
    rng: np.random.Generator,
) -> Comparison:
    if analytic.shape != array.shape:
        raise ValueError(
            f"check_gradients expected the gradient of {name} in its shape {array.shape}, got {analytic.shape}: "
            "backward must return one derivative for each element."
        )
    places: Sequence[int] = range(array.size)
    if limit is not None and array.size > limit:
        places = np.sort(rng.choice(array.size, limit, replace=False)).tolist()
    derivative = _complex_step if method == "complex" else _central_difference

    def differ(place: int, h: float) -> tuple[float, float] | None:
        return derivative(scalar, at_home, array, np.unravel_index(place, array.shape), h)

    gradient = analytic.ravel()
    found = {place: numeric for place in places if (numeric := differ(place, h)) is not None}
    values = np.abs([v for place, (n, _) in found.items() for v in (n, float(gradient[place]))])
    size = float(values[np.isfinite(values)].max(initial=0.0))
    compared = []
    for place, (n, doubt) in found.items():
        a = float(gradient[place])
        if method == "central" and not abs(a - n) <= tolerance * size + doubt:  # is it f that bends within h?
            longer = differ(place, 2 * h)
            if longer is None:
                continue
            doubt += abs(longer[0] - n)
        index = tuple(int(i) for i in np.unravel_index(place, array.shape))
        compared.append(Comparison(name, array.shape, 1, 0, size, doubt, index, a, n))
    if not compared:
        return Comparison(name, array.shape, 0, len(places), 0.0, 0.0, (0,) * array.ndim, np.nan, np.nan)
    worst = max(compared, key=lambda c: c.rank(tolerance))
    return replace(worst, checked=len(compared), kinks=len(places) - len(compared))


def _central_difference(
    scalar: Callable[[], tuple[Any, float]], at_home: Callable[[], bool], array: Array, index: Any, h: float
) -> tuple[float, float] | None:
    """(f(w + h) - f(w - h)) / 2h, with h times max(1, |w|), and what rounding may do to it; None across a kink."""
    w = array[index]
    h *= max(1.0, abs(w))
    h = (w + h) - w or h  # as far as w + h is from w in fact
    try:
        array[index] = w + h
        (above, F), same = scalar(), at_home()
        array[index] = w - h
        (below, other_F), same = scalar(), same and at_home()
    finally:
        array[index] = w
    return (float((above - below) / (2 * h)), (ROUNDING * max(F, other_F) + TINY) / h) if same else None


def _complex_step(
    scalar: Callable[[], tuple[Any, float]], at_home: Callable[[], bool], array: Array, index: Any, h: float
) -> tuple[float, float] | None:
    """Im f(w + ih) / h, and what rounding may do to it: nothing is subtracted, but the terms of a sum may cancel."""
    w = array[index]
    try:
        array[index] = w + 1j * h
        value, F = scalar()
        return float(np.imag(value)) / h, ROUNDING * F + TINY / h
    finally:
        array[index] = w
