"""Backpropagation on one screen: forward, loss, backward, step. A thousand times, and a network has learned.

    z = f(x),  x̂ = g(z)         forward: each layer computes y = x W + b or y = max(x, 0), and keeps what backward needs
    L = loss(x̂, x)              one number. Its gradient at the end of g is (x̂ - x) / N d: the error itself goes back
    dL/dx = dL/dy Wᵀ            backward, the last layer first: each layer passes this on to the layer before it
    dL/dW = xᵀ dL/dy            and keeps this: for one image, each unit's gradient is the image times a number
    W ← W - step                the optimizer: downhill
That is the chain rule (Rumelhart, Hinton and Williams, 1986, Nature 323, 533-536). A derivative says what a nudge of
its weight does to the loss, so the demo first nudges some weights, and compares (see 07_gradient_check.py).
Run it: about 8 seconds. It prints the squared error per test image, and draws both directions in
`figures/00_backpropagation.png`. Read beside it: npae/layers.py, npae/losses.py, npae/optimizers.py, npae/training.py.
Now try it without `encoder.backward(grad_z)`: 22.7. The decoder learns to read the codes of an encoder that does not.
Now try npae.SGD(10) for Adam: 14.0 after the same 1,000 steps; and SGD(0.1): 50.7, hardly better than a mean image.
"""

import copy
import sys
from itertools import accumulate
from pathlib import Path

import numpy as np

import npae
from npae import Dense, ReLU, Sequential, plots

FIGURE = Path(__file__).parent / "figures" / "00_backpropagation.png"
BAR, TOLERANCE = 9.0, 1e-6  # squared error per test image, below; error of derivatives, relative to the gradient's size
SHOWN = 1, 10, 100, 1000  # after so many steps, the picture shows reconstructions


def main(path=FIGURE, epochs=10):
    X, X_test = npae.datasets.digits()
    rng, loss, adam, losses, networks = np.random.default_rng(0), npae.BCE(), npae.Adam(5e-3), [], {}
    encoder = Sequential(Dense(784, 128, init="he", rng=rng), ReLU(), Dense(128, 32, rng=rng))
    decoder = Sequential(Dense(32, 128, init="he", rng=rng), ReLU(), Dense(128, 784, rng=rng))
    network = Sequential(*encoder.layers, *decoder.layers)
    nudges = npae.check_gradients(network, X[:8], loss=loss, target=X[:8], max_elements=20, verbose=False)
    parameters, state = network.parameters(), adam.init(network.parameters())
    for x in (X[rows] for _ in range(epochs) for rows in rng.permutation(len(X)).reshape(-1, 100)):
        z = encoder.forward(x)
        logits = decoder.forward(z)
        value, grad_logits = loss(logits, x)
        grad_z = decoder.backward(grad_logits)
        encoder.backward(grad_z)
        adam.step(parameters, state)
        losses.append(value)
        if len(losses) in SHOWN:
            networks[len(losses)] = copy.deepcopy(network)
    error = np.square(X_test - loss.inverse_link(network.forward(X_test))).sum(axis=1).mean()
    print(f"largest difference between backward and a nudge: {nudges.error:.0e} (must be at most {TOLERANCE:.0e})")
    print(f"after {len(losses):,} steps: squared error per test image {error:.2f} (must be below {BAR})")
    draw(path, X[:8], losses, networks, loss)
    return 0 if error < BAR and nudges.error <= TOLERANCE else 1


def draw(path, x, losses, networks, loss):
    top, bottom = (fig := plots.figure(9, 6)).subfigures(2, 1, height_ratios=[1.25, 1])
    top.suptitle("one image after 10 steps; below, more of what is red lowers the loss, of blue raises it", size=10)
    layers = networks[10].layers
    y = [*accumulate(layers, lambda y, layer: layer.forward(y), initial=x[:1])]
    g = [*accumulate(layers[::-1], lambda grad, layer: layer.backward(grad), initial=loss(y[-1], x[:1])[1])][::-1]
    names = "x →", "h →", "z →", "h₂ →", "x̂", "dL/dW of a unit", "← dL/dh", "← dL/dz", "← dL/dh₂", "← x̂ - x"
    values = y[0], y[2], y[3], y[5], loss.inverse_link(y[6]), y[0] * g[1].min(), g[2], g[3], g[5], g[6]
    axes, shapes = top.subplots(2, 5), {784: (28, 28), 128: (8, 16), 32: (4, 8)}
    for ax, name, v in zip(axes.flat, names, values, strict=True):
        size, signed = np.abs(v).max(), v.min() < 0
        ax.imshow(v.reshape(shapes[v.size]), cmap="RdBu" if signed else "gray_r", vmin=-size * signed, vmax=size)
        ax.set(title=name, xticks=[], yticks=[])
    a, b = bottom.subplots(1, 2, width_ratios=[1, 1.3])
    plots.style_axes(a, "the loss of each batch", "step", "BCE per pixel").set_xscale("log")
    a.plot(range(1, len(losses) + 1), losses, color=plots.BLUE)
    rows = {f"step {step:,}": loss.inverse_link(network.forward(x)) for step, network in networks.items()}
    plots.image_rows({"x": x} | rows, b).set_title("training images, and their x̂ after 1 to 1,000 steps")
    plots.save(fig, path)


if __name__ == "__main__":
    sys.exit(main())
