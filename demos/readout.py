"""A linear read-out: how much of a label do the numbers of a code say, if one may only weigh and add them?

    p(y|z) = softmax(z W + b)          L = -mean log p(y|z)

trained with Adam; the weight decay keeps W small, since a wide code can tell all training rows apart (see `Adam`).
Code and classifier are learned apart: the autoencoder has seen no label. Read beside it: demos/published.py.
"""

import numpy as np

import npae


class CrossEntropy(npae.Loss):
    """L = -mean_i Σ_j t_ij log softmax(y_i)_j, dL/dy = (softmax(y) - t) / N, for targets t with one 1 in each row."""

    def value_and_gradient(self, prediction, target):
        y = prediction - prediction.max(axis=1, keepdims=True)  # so that no exp overflows
        e = np.exp(y)
        total = e.sum(axis=1, keepdims=True)
        return np.mean(np.log(total[:, 0]) - (y * target).sum(axis=1)), (e / total - target) / len(target)


def fit(Z, y, classes=10, epochs=20, batch_size=128, learning_rate=3e-3, decay=0.5, seed=0):
    """Learn labels y (n,) from codes Z (n, k); returns a function from codes (m, k) to labels (m,)."""
    rng, scale, loss = np.random.default_rng(seed), Z.std(), CrossEntropy()
    layer = npae.Dense(Z.shape[1], classes, dtype=Z.dtype, rng=rng)
    adam, targets = npae.Adam(npae.Cosine(learning_rate), weight_decay=decay), np.eye(classes, dtype=Z.dtype)[y]
    state = adam.init(layer.parameters(), total_steps=epochs * -(-len(Z) // batch_size))
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(Z)), -(-len(Z) // batch_size)):
            layer.backward_parameters(loss(layer.forward(Z[rows] / scale), targets[rows])[1])
            adam.step(layer.parameters(), state)
    return lambda codes: layer.forward(codes / scale).argmax(axis=1)


def error(Z, y, Z_new, y_new, **options):
    """The share of new codes whose label the read-out gets wrong."""
    return float((fit(Z, y, **options)(Z_new) != y_new).mean())
