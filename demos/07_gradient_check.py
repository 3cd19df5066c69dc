"""Backpropagation broken on purpose, and caught: how to prove that a gradient is right.

A derivative follows from the function alone: (f(w + h) - f(w - h)) / 2h. A large h adds truncation error, of order h².
A small h subtracts nearly equal numbers and adds rounding error, of order 1/h. Plotted against h, the error is a V.
The complex step, Im f(w + ih) / h, subtracts nothing and stays flat (Squire and Trapp, 1998).

Run it: a second. It plants five faults, prints the report that catches each, and draws errors and the V in
`figures/07_gradient_check.png`. Read beside it: npae/gradcheck.py, tests/test_planted_faults.py.
Now try `(1 - y * y) * 0.999999` in WrongSlope: caught as well, with an error of 1e-6, ten times the tolerance.
Now try dtype=np.float16 for a Dense: it raises. With dtype=float no verdict changes; the check computes in float64.
"""

import sys
from pathlib import Path

import numpy as np

import npae
from npae import plots

FIGURE = Path(__file__).parent / "figures" / "07_gradient_check.png"
TOLERANCE, FLAT = 1e-7, 1e-14  # largest error of right gradients, by central differences and by the complex step


class LostTranspose(npae.Dense):
    def backward(self, grad_y):
        super().backward(grad_y)
        return grad_y @ self.W.value  # must be W.T; W is square, so the shapes agree


class BiasOfOneRow(npae.Dense):
    def backward_parameters(self, grad_y):
        super().backward_parameters(grad_y)
        self.b.grad[:] = grad_y[0]  # must be the sum over all rows


class WrongSlope(npae.Tanh):
    def chain(self, grad_y, y):
        return grad_y * (1 - y)  # must be 1 - y²


class WrongMask(npae.ReLU):
    def chain(self, grad_y, y):
        return grad_y * (grad_y > 0)  # must be y > 0


class LostTwo(npae.MSE):
    def value_and_gradient(self, prediction, target):
        value, grad = super().value_and_gradient(prediction, target)
        return value, grad / 2  # must be 2 (x_hat - x) / (n d)


def main(path=FIGURE, faults=(LostTranspose, BiasOfOneRow, WrongSlope, WrongMask, LostTwo)):
    x, target = np.random.default_rng(0).standard_normal((2, 6, 5))
    network = npae.Sequential(npae.Dense(5, 5, rng=1), npae.Tanh(), npae.Dense(5, 3, rng=2))
    errors = {"right": npae.check_gradients(network, x).error}
    for fault in faults:
        print(f"\n{fault.__name__}, a broken {fault.__base__.__name__}:")
        broken = fault(5, 5, rng=1) if issubclass(fault, npae.Dense) else fault()
        errors[fault.__name__] = npae.check_gradients(broken, x, target=target if fault is LostTwo else None).error
    steps, ways = 10.0 ** np.arange(-15, 0), ("central", "complex")
    V, line = ([npae.check_gradients(network, x, step=h, method=w, verbose=False).error for h in steps] for w in ways)
    (right, *wrong), flat = errors.values(), max(line[:6])
    print(f"\nfaults caught: {sum(error > TOLERANCE for error in wrong)} of {len(faults)} (must be all)")
    print(f"error where none: {right:.0e} (must be <= {TOLERANCE}), by the complex step {flat:.0e} (must be <= {FLAT})")
    a, b = (fig := plots.figure(9, 3.6)).subplots(1, 2)
    plots.style_axes(a, "the V of central differences, and the complex step", "step h", "largest error of a derivative")
    a.loglog(steps, V, "o-", color=plots.BLUE, markersize=4, label="(f(w + h) - f(w - h)) / 2h")
    a.loglog(steps, line, "s-", color=plots.ORANGE, markersize=4, label="Im f(w + ih) / h")
    a.legend(frameon=False, fontsize=8, loc="upper center")
    plots.style_axes(b, "five faults, and none (right); the line is the tolerance", "largest error of a derivative")
    b.barh(list(errors), list(errors.values()), color=[plots.GREY] + [plots.ORANGE] * len(wrong), left=1e-12, log=True)
    b.axvline(TOLERANCE, color="black", linewidth=0.8)
    plots.save(fig, path)
    return 0 if right <= TOLERANCE < min(wrong) and flat <= FLAT else 1


if __name__ == "__main__":
    sys.exit(main())
