"""Gradient checking: compare the gradients of a model with numeric derivatives of its loss.

Central difference. By Taylor's theorem f(x ± h) = f(x) ± h f'(x) + h²/2 f''(x) ± h³/6 f'''(x) + ..., so

    (f(x + h) - f(x - h)) / 2h = f'(x) + h²/6 f'''(x) + ...

The even terms cancel, so the truncation error falls as h². Each value of f is rounded by about ε |f|, and the quotient
divides that by 2h, so the rounding error grows as 1/h. In float64 with h = 1e-5 both are often near 1e-10.

Complex step. The same series along the imaginary axis, f(x + ih) = f(x) + ih f'(x) - h²/2 f''(x) - ..., gives

    Im f(x + ih) / h = f'(x) - h²/6 f'''(x) + ...

Nothing is subtracted, so nothing cancels and h = 1e-20 gives every digit. f must be analytic, and its code must accept
complex numbers (Squire and Trapp, 1998, SIAM Review 40, 110-112).

Tolerance. Pixels may run to 255, and a mean over a million elements has derivatives of 1e-8. So the error is relative
to the size of the gradient, and the doubt about the numeric derivative is granted. An element passes if

    |a - n| <= tolerance · size + doubt         a analytic, n numeric, size the largest |a| or |n| of the array
    doubt = 16 ε F / h + |n(2h) - n(h)|         ε = 2.2e-16, F = |f| + sum |df/dy · y| for the network's output y

Each element of the input and of the parameters is moved in turn. A layer without a loss is checked through sum(v * y),
v random. Across a kink, such as ReLU's at 0, a difference is no derivative: where a move changes the `branches` of the
forward pass, the element is left out and counted.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from npae.estimator.arguments import as_count, as_flag, as_generator, as_real
from npae.estimator.validation import as_table
from npae.kernels.arrays import Array, ArrayLike, RandomState

CALLER = "check_gradients"
TOLERANCE = {"central": 1e-7, "complex": 1e-12}
STEP = {"central": 1e-5, "complex": 1e-20}
DIGITS = 1e-5  # relative to a gradient's size: a larger rounding error makes the step of a central difference longer
LONGER = 10.0  # the largest factor by which the step grows
ROUNDING = 16 * float(np.finfo(np.float64).eps)  # rounding error of a difference of two values of f, relative to F
TINY = float(np.finfo(np.float64).tiny)  # the smallest normal number: smaller ones lose digits


@dataclass(frozen=True)
class Comparison:
    """One array's analytic and numeric gradient at the worst element."""

    name: str
    shape: tuple[int, ...]
    checked: int  # how many elements were compared
    kinks: int  # how many were left out
    size: float  # the largest |analytic| or |numeric| of the array
    doubt: float  # how far rounding and truncation may have moved `numeric`
    index: tuple[int, ...]
    analytic: float
    numeric: float

    @property
    def error(self) -> float:
        """|analytic - numeric| / size; NaN if no element was compared, infinity if a number is not finite."""
        difference = abs(self.analytic - self.numeric)
        if not np.isfinite(difference):
            return np.inf if self.checked else np.nan
        return difference / self.size if difference else 0.0

    @property
    def excess(self) -> float:
        """The part of the error that the doubt does not explain."""
        return max(0.0, self.error - self.doubt / self.size) if 0 < self.error < np.inf else self.error


@dataclass(frozen=True)
class GradientReport:
    """The outcome of `check_gradients`; `print(report)` shows it as a table.

    Example
    -------
    >>> import numpy as np, npae
    >>> report = npae.check_gradients(npae.Tanh(), np.eye(2), verbose=False)
    >>> report.passed, report.error < 1e-9, report.worst.name
    (True, True, 'input')
    """

    title: str
    comparisons: tuple[Comparison, ...]  # of the input and of each parameter
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether each array had an element to compare and no excess is above the tolerance."""
        return all(map(self._passes, self.comparisons))

    @property
    def worst(self) -> Comparison:
        """The array with the largest excess above the tolerance; without any, the one with the largest error."""
        compared = [c for c in self.comparisons if c.checked] or self.comparisons
        return max(compared, key=lambda c: (max(c.excess, self.tolerance), c.error))

    @property
    def error(self) -> float:
        """|analytic - numeric| of the worst element, relative to the size of its array's gradient."""
        return self.worst.error

    @property
    def kinks(self) -> int:
        """How many elements were left out because a kink lies within the step."""
        return sum(c.kinks for c in self.comparisons)

    def __str__(self) -> str:
        lines = [f"gradients of {self.title}: {'ok' if self.passed else 'WRONG'}, tolerance {self.tolerance:.0e}"]
        for c in self.comparisons:
            mark, counted = " " if self._passes(c) else "x", f"{c.checked} of {np.prod(c.shape):.0f}"
            kinks = f", {c.kinks} at a kink left out" if c.kinks else ""
            lines.append(f"  {mark} {c.name:<10} {c.shape!s:<12} {counted:>14} checked, error {c.error:.1e}{kinks}")
        w = self.worst
        relation, doubt = "<=" if self._passes(w) else ">", w.doubt / w.size if w.size else 0.0
        lines.append(f"  worst {w.name}{list(w.index)}: analytic {w.analytic:.12g}, numeric {w.numeric:.12g}")
        lines.append(f"  error {w.error:.1e} {relation} tolerance {self.tolerance:.0e} + doubt {doubt:.0e}")
        return "\n".join(lines)

    def _passes(self, c: Comparison) -> bool:
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

    The check runs on a float64 copy; the model is not changed. The numeric derivative by an element w is

        central   (f(w + h) - f(w - h)) / 2h,   h = 1e-5 max(1, |w|), up to ten times as long where f is large
        complex   Im f(w + ih) / h,             h = 1e-20   (analytic functions only: no ReLU)

    Parameters
    ----------
    model : layer, loss or fitted estimator
        A layer is checked through `loss`, or through sum(v * y) with a random v; a loss through its own value; an
        estimator through the loss that its fit minimises, for a `DAE` with fixed noise and a clean target. Any object
        with `forward`, `backward` and `parameters` is a layer.
    x : array (n, d)
        The layer's input, the loss's prediction, or the estimator's data.
    loss, target : optional
        The loss behind a layer, and the target of a loss, shaped like its prediction.
    method : "central" or "complex"
    step : float, optional
        Replaces 1e-5 or 1e-20 above, and is not made longer.
    tolerance : float, optional
        The largest error that passes, relative to the gradient's size; 1e-7 for "central", 1e-12 for "complex".
    max_elements : int or None
        How many elements of each array to compare, drawn at random; None compares all.
    random_state : int, Generator or None
        Fixes v, the noise of a DAE, and the elements drawn.
    verbose : bool
        Whether to print the report.

    Returns
    -------
    GradientReport

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
    if not isinstance(method, str) or method not in TOLERANCE:
        raise ValueError(f"{CALLER} expected method 'central' or 'complex', got {method!r}: choose one of these.")
    verbose = as_flag(verbose, CALLER, "verbose")
    limit = None if max_elements is None else as_count(max_elements, CALLER, "max_elements")
    h = as_real(STEP[method] if step is None else step, CALLER, "step", low=0, without=0)
    tolerance = as_real(TOLERANCE[method] if tolerance is None else tolerance, CALLER, "tolerance", low=0)
    rng = as_generator(random_state, CALLER).spawn(1)[0]  # v must differ from an x that was drawn with the same seed
    x = as_table(x, CALLER, name="x", dtype=np.float64)
    network, loss, x, target = _problem(model, x, loss, target, rng)
    parameters = network.parameters()

    y = network.forward(x)
    if loss is None:
        v = rng.standard_normal(y.shape)
        loss = lambda y, _: (np.sum(v * y), v)  # noqa: E731
    grad_x = network.backward(loss(y, target)[1])  # None if it is not known
    gradients = [*([] if grad_x is None else [grad_x.copy()]), *(p.grad.copy() for p in parameters)]
    home: list[Array] = getattr(network, "branches", list)()
    f = _Function(network, loss, x, target, home, method, h, tolerance, limit, rng)
    if method == "complex":
        if home:
            raise ValueError(f"{CALLER} expected an analytic model for the complex step, got kinks: use 'central'.")
        f.x = x.astype(complex)
        for p in parameters:
            p.value = p.value.astype(complex)
    elif step is None:
        f.F = f()[1]
    arrays = [*([] if grad_x is None else [("input", f.x)]), *((p.name, p.value) for p in parameters)]
    comparisons = tuple(_compare(f, *array, gradient) for array, gradient in zip(arrays, gradients, strict=True))
    report = GradientReport(type(model).__name__, comparisons, tolerance)
    if verbose:
        print(report)
    return report


def _problem(model: Any, x: Array, loss: Any, target: Any, rng: np.random.Generator) -> tuple[Any, Any, Array, Any]:
    """A float64 copy of the network, with the loss, the input and the target of its scalar function."""
    network = model
    if hasattr(model, "objective"):  # an estimator
        if loss is not None or target is not None:
            raise ValueError(f"{CALLER} expected no loss and no target with an estimator, got one: check its network_.")
        network, loss, x, target = model.objective(x, rng)
    elif hasattr(model, "value_and_gradient"):  # a loss, behind the identity
        network, loss = SimpleNamespace(forward=lambda x: x, backward=lambda grad_y: grad_y, parameters=list), model
    elif not all(hasattr(model, name) for name in ("forward", "backward", "parameters")):
        raise TypeError(f"{CALLER} expected a layer, a loss or an estimator, got {type(model).__name__}: pass one.")
    if loss is not None and (not callable(loss) or isinstance(loss, type)):
        raise TypeError(f"{CALLER} expected loss as an object such as npae.MSE(), got {loss!r}: pass one.")
    if (loss is None) != (target is None):
        raise ValueError(
            f"{CALLER} expected a loss and its target together, got loss {loss!r} and target {type(target).__name__}: "
            "pass both or none."
        )
    t = None if target is None else as_table(target, CALLER, name="target", dtype=np.float64)
    network, loss = copy.deepcopy((network, loss))
    for p in network.parameters():
        p.value, p.grad = p.value.astype(np.float64), np.zeros(p.value.shape)
    return network, loss, np.array(x, np.float64), t


@dataclass
class _Function:
    """f = loss(network(x), target), and how its derivatives are computed and judged."""

    network: Any
    loss: Any
    x: Array
    target: Any
    home: list[Array]  # the branches at x
    method: str
    step: float
    tolerance: float
    max_elements: int | None
    rng: np.random.Generator
    F: float = 0.0  # at x; 0 for a fixed step

    def __call__(self) -> tuple[Any, float]:
        """f, and F, the size of the numbers whose rounding shows in f."""
        y = self.network.forward(self.x)
        value, grad_y = self.loss(y, self.target)
        return value, float(abs(value) + np.abs(grad_y * y).sum()) + getattr(self.loss, "offset", 0.0)

    def at(self, array: Array, index: tuple[int, ...], value: Any) -> tuple[Any, float, bool]:
        """f and F where one element has another value, and whether its branches are those of x."""
        w = array[index]
        array[index] = value
        try:
            return *self(), all(map(np.array_equal, getattr(self.network, "branches", list)(), self.home))
        finally:
            array[index] = w


def _derivative(f: _Function, array: Array, index: tuple[int, ...], h: float) -> tuple[float, float] | None:
    """The numeric derivative by one element, and its rounding error; None across a kink."""
    w = array[index]
    if f.method == "complex":
        value, F, _ = f.at(array, index, w + 1j * h)
        return float(np.imag(value)) / h, ROUNDING * F + TINY / h  # the terms of f may cancel in their sum
    h *= max(1.0, abs(w))
    h = (w + h) - w or h  # the distance from w to the rounded w + h
    above, F_above, same_above = f.at(array, index, w + h)
    below, F_below, same_below = f.at(array, index, w - h)
    rounding = (ROUNDING * max(F_above, F_below) + TINY) / h
    return (float((above - below) / (2 * h)), rounding) if same_above and same_below else None


def _compare(f: _Function, name: str, array: Array, gradient: Array) -> Comparison:
    """The analytic and the numeric gradient of one array, at their worst element."""
    if gradient.shape != array.shape:
        raise ValueError(f"{CALLER} expected {name}.grad of shape {array.shape}, got {gradient.shape}: check backward.")
    digits = max(DIGITS * float(np.abs(gradient).max()), TINY)
    h = f.step * min(LONGER, max(1.0, ROUNDING * f.F / f.step / digits))  # long enough to keep DIGITS of the gradient
    places = np.arange(array.size)
    if f.max_elements is not None and array.size > f.max_elements:
        places = np.sort(f.rng.choice(array.size, f.max_elements, replace=False))
    indices = [tuple(map(int, np.unravel_index(place, array.shape))) for place in places]
    found = {i: numeric for i in indices if (numeric := _derivative(f, array, i, h)) is not None}
    values = np.abs([v for i, (n, _) in found.items() for v in (n, float(gradient[i]))])
    size = float(values[np.isfinite(values)].max(initial=0.0))
    compared = []
    for i, (n, doubt) in found.items():
        a = float(gradient[i])
        if f.method == "central" and not abs(a - n) <= f.tolerance * size + doubt:  # does f bend within the step?
            longer = _derivative(f, array, i, 2 * h)
            if longer is None:
                continue
            doubt += abs(longer[0] - n)
        compared.append(Comparison(name, array.shape, 1, 0, size, doubt, i, a, n))
    if not compared:
        return Comparison(name, array.shape, 0, len(places), 0.0, 0.0, (0,) * array.ndim, np.nan, np.nan)
    worst = max(compared, key=lambda c: (max(c.excess, f.tolerance), c.error))
    return replace(worst, checked=len(compared), kinks=len(places) - len(compared))
