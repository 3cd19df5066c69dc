"""Penalties: Ω(z, f), the second term of what an autoencoder minimises. It says which codes are good ones.

    L = -log p(x|z) + Ω(z, f)          z = f(x)

A code as wide as the data, or wider, could copy x and learn nothing. A penalty takes that freedom back:

    L1             few numbers of z are far from 0             sparse coding (Olshausen and Field, 1996)
    KLSparsity     each unit is active in few rows             the sparse autoencoder (Ng, 2011, CS294A)
    Contractive    z changes little as x does                  the contractive autoencoder (Rifai et al., 2011)
    GaussianKL     q(z|x) stays close to N(0, I)               the variational autoencoder (Kingma and Welling, 2014)

A penalty is used like a loss: one call computes the value and its gradient by z under one normaliser. The value
does not grow with the batch. Ω may also depend on f in other ways than through z, as the
contractive penalty does. It leaves that part of the gradient as `pending` at the parameters of f, whose backward pass
adds it.

Next: `training.py`, where both terms meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from npae.activations import ACTIVATIONS, Activation, Identity
from npae.estimator.arguments import as_real
from npae.estimator.validation import as_table, normalized_weights
from npae.kernels import kernel
from npae.kernels.arrays import Array, ArrayLike
from npae.layers import Dense, Layer, all_layers, matmul


class Penalty:
    """The contract of a penalty: calling it checks the arguments, `value_and_gradient` computes. Subclass the latter.

    Example
    -------
    >>> import numpy as np
    >>> class L2(Penalty):
    ...     '''Ω = mean z².'''
    ...     def value_and_gradient(self, z, f=None, x=None, weight=None):
    ...         return np.asarray(np.mean(z * z)), 2 * z / z.size
    >>> L2()([[1.0, 3.0]])
    (5.0, array([[1., 3.]]))
    """

    def __call__(
        self,
        z: ArrayLike,
        f: Layer | None = None,
        x: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
    ) -> tuple[float, Array]:
        """(Ω, dΩ/dz) for codes z = f(x), shape (N, k). With sample_weight w (N,), the mean over rows is weighted.

        Raises TypeError or ValueError if z is not a table of finite numbers, or the weights are not N finite numbers
        >= 0 with a positive sum.
        """
        caller = type(self).__name__
        codes = as_table(z, caller, name="z")
        x = None if x is None else as_table(x, caller, name="x", dtype=codes.dtype)
        w = None if sample_weight is None else normalized_weights(sample_weight, len(codes), caller)
        value, grad = self.value_and_gradient(codes, f, x, None if w is None else w.astype(codes.dtype))
        return np.asarray(value).item(), grad

    def value_and_gradient(
        self, z: Array, f: Layer | None = None, x: Array | None = None, weight: Array | None = None
    ) -> tuple[Array, Array]:
        """The same without checks, as training calls it. The value is an array of shape (); `weight` (N,) has mean 1.

        z is the output of the encoder f for x. For a stochastic code it is the h of `codes`, what f says of z.
        """
        raise NotImplementedError


def _shares(weight: Array | None, N: int) -> Any:
    """w_n / N as a column (N, 1): the share of each row in a mean over rows."""
    return 1 / N if weight is None else weight[:, None] / N


@dataclass(frozen=True)
class L1(Penalty):
    """Ω = λ mean |z|,  dΩ/dz = λ sign(z) / (N k): many numbers of a code become small, few stay large.

    λ is `weight`, relative to a loss that is a mean as well. The decoder could undo the penalty by a large W behind a
    small z, so tie its weights to the encoder's, `AE(tied=True)`.

    Source: Olshausen and Field, 1996, "Emergence of simple-cell receptive field properties by learning a sparse code".

    Raises
    ------
    TypeError, ValueError
        If weight is not >= 0.

    Example
    -------
    >>> value, grad = L1(0.5)([[2.0, -4.0, 0.0]])
    >>> value, grad.round(4).tolist()
    (1.0, [[0.1667, -0.1667, 0.0]])
    """

    weight: float = 1e-3

    def __post_init__(self) -> None:
        as_real(self.weight, "L1", "weight", low=0)

    def value_and_gradient(
        self, z: Array, f: Layer | None = None, x: Array | None = None, weight: Array | None = None
    ) -> tuple[Array, Array]:
        share = self.weight / z.shape[1] * _shares(weight, len(z))
        grad = (share * np.sign(z)).astype(z.dtype)
        return np.sum(share * abs(z), dtype=np.promote_types(z.dtype, np.float64)), grad


@dataclass(frozen=True)
class KLSparsity(Penalty):
    """Ω = λ Σ_j KL(ρ ‖ ρ_j), where ρ_j = mean_n z_nj says how active unit j is in the batch; ρ is the aim.

        KL(ρ ‖ ρ_j) = ρ log(ρ / ρ_j) + (1 - ρ) log((1 - ρ) / (1 - ρ_j))
        dΩ/dz_nj    = λ / N · (ρ_j - ρ) / (ρ_j (1 - ρ_j))

    Codes lie in [0, 1], as those of `code="sigmoid"` do: each z is read as a probability to be active. A unit that is
    never or always active counts as active in a share of 1e-6 of the rows, or in all but that share.

    Parameters
    ----------
    rho : float in (0, 1)
    weight : float >= 0
        λ.

    Source: Ng, 2011, "Sparse autoencoder", CS294A lecture notes, section 3.

    Raises
    ------
    TypeError, ValueError
        If rho or weight is out of range, or a code is outside [0, 1].

    Example
    -------
    >>> value, grad = KLSparsity(rho=0.5, weight=1.0)([[0.25], [0.75]])      # active in half of the rows, on average
    >>> value, grad.tolist()
    (0.0, [[0.0], [0.0]])
    """

    rho: float = 0.05
    weight: float = 1e-2

    def __post_init__(self) -> None:
        as_real(self.rho, "KLSparsity", "rho", low=0, high=1, without=0)
        if self.rho == 1:
            raise ValueError("KLSparsity expected rho below 1, got 1: choose the share of rows, such as 0.05.")
        as_real(self.weight, "KLSparsity", "weight", low=0)

    def value_and_gradient(
        self, z: Array, f: Layer | None = None, x: Array | None = None, weight: Array | None = None
    ) -> tuple[Array, Array]:
        if not (z.real.min() >= 0 and z.real.max() <= 1):
            raise ValueError(
                f"KLSparsity expected codes in [0, 1], got some from {z.real.min():g} to {z.real.max():g}: "
                'let the code be a sigmoid\'s output, AE(code="sigmoid", ...).'
            )
        share, rho = _shares(weight, len(z)), self.rho
        active = np.sum(share * z, axis=0, dtype=np.promote_types(z.dtype, np.float64))
        active = np.where(active.real < 1e-6, 1e-6, np.where(active.real > 1 - 1e-6, 1 - 1e-6, active))
        kl = rho * np.log(rho / active) + (1 - rho) * np.log((1 - rho) / (1 - active))
        slope = self.weight * (active - rho) / (active * (1 - active))
        return np.asarray(self.weight * kl.sum()), (share * np.broadcast_to(slope, z.shape)).astype(z.dtype)


@dataclass(frozen=True)
class Contractive(Penalty):
    """Ω = λ mean_n ‖∂f/∂x (x_n)‖²: the sum of the squares of all derivatives of the code by the input.

    Where the Jacobian is small, nearby x have nearby codes. The loss keeps large only those directions that tell the
    training data apart. For one layer z = s(x W + b) with the slopes s'_nj = s'((x_n W + b)_j),

        Ω = λ mean_n Σ_j s'_nj² |W_j|²          |W_j|² = Σ_i W_ij²

    In a deeper encoder the chain rule runs backward from each number of the code: with M_L = diag(s'_L),

        M_l = (M_(l+1) W_(l+1)ᵀ) diag(s'_l),    Ω = λ mean_n |M_1 W_1ᵀ|²,

    at the price of k backward passes, one for each number. Its gradient takes the same way forward, and reaches W and b
    both directly and through the slopes. It is left as `pending` at each parameter; dΩ/dz is then 0.

    The encoder is built of `Dense` layers and npae's activations (of these, ReLU and others without a second derivative
    contract by their weights alone).

    Source: Rifai, Vincent, Muller, Glorot and Bengio, 2011, "Contractive auto-encoders: explicit invariance during
    feature extraction".

    Raises
    ------
    TypeError, ValueError
        If weight is not >= 0, or there is no encoder of such layers.

    Example
    -------
    >>> import numpy as np
    >>> f = Dense(3, 2, dtype=np.float64, rng=0)                 # z = x W + b has the Jacobian Wᵀ everywhere
    >>> x = np.ones((4, 3))
    >>> value, _ = Contractive(1.0)(f.forward(x), f, x)
    >>> bool(np.isclose(value, (f.W.value ** 2).sum()))
    True
    """

    weight: float = 1e-3

    def __post_init__(self) -> None:
        as_real(self.weight, "Contractive", "weight", low=0)

    def value_and_gradient(
        self, z: Array, f: Layer | None = None, x: Array | None = None, weight: Array | None = None
    ) -> tuple[Array, Array]:
        if x is None:
            raise ValueError("Contractive expected the input x, got None: call it as penalty(f.forward(x), f, x).")
        stages = _stages(f)
        share = np.asarray(self.weight * _shares(weight, len(x)), z.dtype)
        inputs, slopes, bends = [x], [], []  # of each layer: its x, s' and s''
        for layer, s in stages:
            y = s.forward(layer.forward(inputs[-1]))
            inputs.append(y)
            slopes.append(s.chain(np.ones_like(y), y))
            bends.append(s.second_derivative(y))
        W = [layer.W.value for layer, _ in stages]
        value, grad_W, grad_slopes = (_of_one_layer if len(W) == 1 else _of_several_layers)(W, slopes, share)
        grad_a = np.zeros((1, 1), z.dtype)  # by s's argument a = x W + b
        for i in reversed(range(len(W))):
            grad_a = grad_a + grad_slopes[i] * bends[i]
            stages[i][0].W.pending[self] = (grad_W[i] + matmul(inputs[i].T, grad_a)).astype(z.dtype)
            stages[i][0].b.pending[self] = grad_a.sum(axis=0).astype(z.dtype)
            if i > 0:
                grad_a = matmul(grad_a, W[i].T) * slopes[i - 1]
        return np.asarray(value), np.zeros_like(z)


def _stages(f: Layer | None) -> list[tuple[Dense, Activation]]:
    """The layers of an encoder in pairs: a Dense, and the activation after it, the identity if there is none."""
    stages: list[tuple[Dense, Activation]] = []
    for layer in [] if f is None else [leaf for leaf in all_layers(f) if not hasattr(leaf, "layers")]:
        if type(layer) is Dense:
            stages.append((layer, Identity()))
        elif type(layer) in ACTIVATIONS.values() and stages and type(stages[-1][1]) is Identity:
            stages[-1] = (stages[-1][0], cast(Activation, layer))
        else:
            stages = []
            break
    if not stages:
        raise ValueError(
            f"Contractive expected an encoder of Dense layers, each with at most one of npae's activations, got {f!r}: "
            "leave other layers out, or choose another penalty."
        )
    return stages


def _of_one_layer(W: list[Array], slopes: list[Array], share: Array) -> tuple[Any, list[Array], list[Array]]:
    """Ω = Σ_n share_n Σ_j s_nj² |W_j|², and its gradients by W and s."""
    (V,), (s,) = W, slopes
    lengths = (V * V).sum(axis=0)
    return np.sum(share * s * s * lengths), [2 * V * (share * s * s).sum(axis=0)], [2 * share * s * lengths]


def _of_several_layers(W: list[Array], slopes: list[Array], share: Array) -> tuple[Any, list[Array], list[Array]]:
    """Ω = Σ_n share_n |M_1 W_1ᵀ|², and its gradients by each W and s. M_l has the shape (N, k, n_l)."""
    P = slopes[-1][:, :, None] * W[-1].T  # M_L W_Lᵀ, where M_L is diagonal
    backward = [P]
    for V, s in zip(W[-2:0:-1], slopes[-2:0:-1], strict=True):
        backward.append(P := (P * s[:, None, :]) @ V.T)
    M = P * slopes[0][:, None, :]
    gram = W[0].T @ W[0]  # |M Wᵀ|² = tr(M WᵀW Mᵀ) needs no array of the width of x
    weighted = share.reshape(-1, 1, 1) * M
    grad_M = 2 * weighted @ gram
    value = np.sum(grad_M * M) / 2
    grad_W, grad_slopes = [2 * W[0] @ np.tensordot(M, weighted, ([0, 1], [0, 1]))], []
    for l, P in enumerate(reversed(backward)):  # P = M_(l+1) W_(l+1)ᵀ, counted from 0 here, and M_l = P · s_l
        grad_slopes.append((grad_M * P).sum(axis=1))
        grad_P = grad_M * slopes[l][:, None, :]
        if l + 2 < len(W):
            M = backward[-2 - l] * slopes[l + 1][:, None, :]
            grad_W.append(np.tensordot(grad_P, M, ([0, 1], [0, 1])))
            grad_M = grad_P @ W[l + 1]
    grad_W.append(np.einsum("nji,nj->ij", grad_P, slopes[-1]))
    grad_slopes.append(np.einsum("nji,ij->nj", grad_P, W[-1]))
    return value, grad_W, grad_slopes


def divergences(h: Array) -> Array:
    """KL(N(μ, diag σ²) ‖ N(0, I)) of each row of h = (μ, log σ²), shape (N, 2k) -> (N,), in nats."""
    k = h.shape[1] // 2
    mu, log_variance = h[:, :k], h[:, k:]
    cost = (mu * mu + np.exp(log_variance) - 1 - log_variance) / 2
    return np.asarray(cost.sum(axis=1, dtype=np.promote_types(h.dtype, np.float64)))


@kernel
def gaussian_kl(h: Array, beta: float, weight: Array | None = None) -> tuple[Array, Array]:
    k = h.shape[1] // 2
    share = beta * _shares(weight, len(h))
    grad = np.hstack([share * h[:, :k], share * (np.exp(h[:, k:]) - 1) / 2])
    return np.sum(share * divergences(h)[:, None]), grad.astype(h.dtype, copy=False)


@dataclass(frozen=True)
class GaussianKL(Penalty):
    """Ω = β mean_n KL(N(μ_n, diag σ_n²) ‖ N(0, I)), in nats per row: what the code says of x, measured against a prior.

        KL        = Σ_j (μ_j² + σ_j² - 1 - log σ_j²) / 2
        dKL/dμ_j  = μ_j,        dKL/dlog σ_j² = (σ_j² - 1) / 2

    h = (μ, log σ²) has the shape (N, 2k). The closed form is that of two Gaussian distributions: no noise is drawn.

    Sources: Kingma and Welling, 2014, "Auto-encoding variational Bayes", appendix B; Higgins et al., 2017, "beta-VAE",
    for β.

    Raises
    ------
    TypeError, ValueError
        If beta is not >= 0.

    Example
    -------
    >>> value, grad = GaussianKL()([[3.0, 0.0]])         # μ = 3, log σ² = 0
    >>> value, grad.tolist()
    (4.5, [[3.0, 0.0]])
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        as_real(self.beta, "GaussianKL", "beta", low=0)

    def value_and_gradient(
        self, z: Array, f: Layer | None = None, x: Array | None = None, weight: Array | None = None
    ) -> tuple[Array, Array]:
        if z.shape[1] % 2:
            raise ValueError(
                f"GaussianKL expected h of shape (N, 2k), got {z.shape}: pass means, then as many log-variances."
            )
        return gaussian_kl(z, self.beta, weight)


PENALTIES: dict[str, type[Penalty]] = {"l1": L1, "kl": KLSparsity, "contractive": Contractive}
