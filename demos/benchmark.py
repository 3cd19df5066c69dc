"""How long an epoch of training takes: npae beside NumPy, PyTorch, JAX and scikit-learn, where they are installed.

Run it: two minutes where none of the others is installed, about eight minutes with all of them. It prints seconds
per epoch and seconds per reconstruction, and draws `figures/benchmark.png`. Name workloads to measure only those:
`python demos/benchmark.py simple wide`. `--full` trains on all of MNIST.

All libraries train the same network with Adam, in float32 on the processor. Each one is used as its users would use
it for speed. Machines are noisy, and the idle threads of one library take time from another. So every measurement is
a process of its own, and the libraries take turns. The first epoch, which compiles, does not count. A figure is the
median over the rounds of each round's median epoch.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
import warnings
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np

import npae
from npae import plots

FIGURE = Path(__file__).parent / "figures" / "benchmark.png"
EPOCHS = 6  # in a measurement, with the first
DEEP = (784, 128, 64, 32, 64, 128, 784)
WORKLOADS = {  # widths, rows in a batch, standard deviation of the noise drawn for each batch, whether a VAE
    "simple": ((784, 32, 784), 256, 0.0, False),
    "deep": (DEEP, 256, 0.0, False),
    "small-batch": ((784, 32, 784), 32, 0.0, False),
    "denoise": (DEEP, 256, 0.5, False),
    "wide": ((784, 1000, 500, 250, 30, 250, 500, 1000, 784), 256, 0.0, False),
    "vae": ((784, 400, 20, 400, 784), 128, 0.0, True),
}

# A library is a function (X, widths, batch, noise, vae) -> (train, reconstruct). `train(epochs)` returns the seconds
# of each epoch. `reconstruct()` sends all rows of X through the network; it is None where that is not measured.


def label(workload):
    """Network and batch, as "784-32-784, 256"; a network of more than seven widths is named by its encoder."""
    widths, batch, noise, vae = WORKLOADS[workload]
    shown = widths if len(widths) <= 7 else (*widths[: len(widths) // 2 + 1], "...")
    return "-".join(map(str, shown)) + f", {batch}" + ", noise" * bool(noise) + ", VAE" * vae


def clocked(action, times):
    ticks = [time.perf_counter()]
    for _ in range(times):
        action()
        ticks.append(time.perf_counter())
    return np.diff(ticks)


def batches(X, size, noise, rng):
    """Yield (input, target) for each batch, in a new random order."""
    for rows in np.split(rng.permutation(len(X)), range(size, len(X), size)):
        y = X[rows]
        yield (y + noise * rng.standard_normal(y.shape, np.float32)).clip(0, 1) if noise else y, y


def with_npae(X, widths, batch, noise, vae):
    half = len(widths) // 2
    own = {"corruption": npae.GaussianNoise(noise, clip=(0, 1))} if noise else {}
    ae = (npae.VAE if vae else npae.DAE if noise else npae.AE)(
        hidden=widths[1:half], latent_dim=widths[half], loss="bce", epochs=0, batch_size=batch,
        verbose=False, random_state=0, **own,
    ).fit(X)  # fmt: skip
    return lambda epochs: ae.set_params(epochs=epochs).fit(X).history_.seconds, lambda: ae.reconstruct(X)


def with_numpy(X, widths, batch, noise, vae):
    rng, t = np.random.default_rng(0), 0
    Ws = [rng.normal(0, np.sqrt(2 / n_in), (n_in, n_out)).astype(X.dtype) for n_in, n_out in pairwise(widths)]
    bs = [np.zeros(n, X.dtype) for n in widths[1:]]
    ms, vs = ([np.zeros_like(p) for p in Ws + bs] for _ in range(2))

    def forward(x):
        xs = [x]
        for W, b in zip(Ws[:-1], bs[:-1], strict=True):
            xs.append(np.maximum(xs[-1] @ W + b, 0))
        return xs, xs[-1] @ Ws[-1] + bs[-1]

    def step(x, y):
        nonlocal t
        t += 1
        xs, logits = forward(x)
        e = np.exp(-np.abs(logits))
        loss = (np.maximum(logits, 0) - logits * y + np.log(1 + e)).mean()
        grad = (np.where(logits > 0, 1, e) / (1 + e) - y) / y.size
        grad_Ws, grad_bs = [], []
        for i in reversed(range(len(Ws))):
            grad_Ws.insert(0, xs[i].T @ grad)
            grad_bs.insert(0, grad.sum(axis=0))
            grad = grad @ Ws[i].T * (xs[i] > 0) if i else None
        for p, g, m, v in zip(Ws + bs, grad_Ws + grad_bs, ms, vs, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= 1e-3 / (1 - 0.9**t) * m / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        return loss

    train = partial(clocked, lambda: np.mean([step(x, y) for x, y in batches(X, batch, noise, rng)]))
    return train, lambda: 1 / (1 + np.exp(-forward(X)[1]))


def with_torch(X, widths, batch, noise, vae, compiled=False):
    import torch

    X, bce, half = torch.from_numpy(X), torch.nn.functional.binary_cross_entropy_with_logits, len(widths) // 2
    layers = [layer for n in pairwise(widths) for layer in (torch.nn.Linear(*n), torch.nn.ReLU())]
    if vae:
        layers[2 * half - 2 : 2 * half] = torch.nn.Linear(widths[half - 1], 2 * widths[half]), torch.nn.Identity()
    network = torch.nn.Sequential(*layers[:-1])
    encoder, decoder = network[: 2 * half], network[2 * half :]
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def mean_loss(x, y):
        return bce(network(x), y)

    def bound(x, y):
        mu, log_variance = encoder(x).chunk(2, dim=1)
        z = mu + torch.exp(log_variance / 2) * torch.randn_like(mu)
        kl = (mu * mu + log_variance.exp() - 1 - log_variance).sum() / 2
        return (bce(decoder(z), y, reduction="sum") + kl) / len(y)

    loss = bound if vae else mean_loss
    loss = torch.compile(loss, dynamic=False) if compiled else loss

    def epoch():
        for rows in torch.randperm(len(X)).split(batch):
            y = X[rows]
            x = (y + noise * torch.randn_like(y)).clamp_(0, 1) if noise else y
            adam.zero_grad()
            loss(x, y).backward()
            adam.step()

    return partial(clocked, epoch), torch.inference_mode()(lambda: network(X).sigmoid())


def with_jax(X, widths, batch, noise, vae):
    import jax
    import optax

    adam, glorot, rng = optax.adam(1e-3), jax.nn.initializers.glorot_uniform(), np.random.default_rng(0)
    X, (key, *keys) = jax.numpy.asarray(X), jax.random.split(jax.random.key(0), len(widths))
    half = len(widths) // 2
    shapes = [(n, 2 * m if vae and i == half - 1 else m) for i, (n, m) in enumerate(pairwise(widths))]
    network = [(glorot(k, shape), jax.numpy.zeros(shape[1])) for k, shape in zip(keys, shapes, strict=True)]
    state, whole = (network, adam.init(network)), len(X) // batch * batch

    def forward(network, x):
        for W, b in network[:-1]:
            x = jax.nn.relu(x @ W + b)
        return x @ network[-1][0] + network[-1][1]

    def mean_loss(network, x, y, key):
        return optax.sigmoid_binary_cross_entropy(forward(network, x), y).mean()

    def bound(network, x, y, key):
        mu, log_variance = jax.numpy.split(forward(network[:half], x), 2, axis=1)
        z = mu + jax.numpy.exp(log_variance / 2) * jax.random.normal(key, mu.shape)
        kl = (mu * mu + jax.numpy.exp(log_variance) - 1 - log_variance).sum() / 2
        return (optax.sigmoid_binary_cross_entropy(forward(network[half:], z), y).sum() + kl) / len(y)

    gradient = jax.grad(bound if vae else mean_loss)

    @jax.jit
    def train(state, X, order, key):
        def step(state, rows_and_key):
            (network, moments), (rows, key) = state, rows_and_key
            y = X[rows]
            x = (y + noise * jax.random.normal(key, y.shape)).clip(0, 1) if noise else y
            grads = gradient(network, x, y, key)  # the loss is not used, so the compiler leaves it out
            updates, moments = adam.update(grads, moments)
            return (optax.apply_updates(network, updates), moments), None

        first, *rest = jax.random.split(key, len(X) // batch + 1)
        state, _ = jax.lax.scan(step, state, (order[:whole].reshape(-1, batch), jax.numpy.stack(rest)))
        return step(state, (order[whole:], first))[0] if whole < len(X) else state

    def epoch():
        nonlocal state, key
        key, now = jax.random.split(key)
        state = jax.block_until_ready(train(state, X, rng.permutation(len(X)), now))

    predict = jax.jit(lambda network, x: jax.nn.sigmoid(forward(network, x)))
    return partial(clocked, epoch), lambda: predict(state[0], X).block_until_ready()


def with_sklearn(X, widths, batch, noise, vae):
    from sklearn.neural_network import MLPRegressor

    warnings.simplefilter("ignore")  # MLPRegressor warns that the last batch is smaller
    model, rng = MLPRegressor(hidden_layer_sizes=widths[1:-1], batch_size=batch), np.random.default_rng(0)

    def epoch():
        for x, y in batches(X, batch, noise, rng) if noise else [(X, X)]:  # else it splits X itself
            model.partial_fit(x, y)

    return partial(clocked, epoch), None


LIBRARIES = {  # function, the modules it needs, colour (Okabe and Ito)
    "npae": (with_npae, (), plots.BLUE),
    "NumPy": (with_numpy, (), plots.GREY),
    "torch": (with_torch, ("torch",), plots.ORANGE),
    "torch.compile": (partial(with_torch, compiled=True), ("torch",), "#E69F00"),
    "jax": (with_jax, ("jax", "optax"), "#009E73"),
    "scikit-learn": (with_sklearn, ("sklearn",), "#CC79A7"),
}
NO_VAE = "NumPy", "scikit-learn"


def measure(library, workload, full):
    """The seconds of the median epoch; for "inference", of the median reconstruction of one image and of 10,000."""
    X = (npae.datasets.mnist if full else npae.datasets.digits)()[0]
    if workload != "inference":
        train, _ = LIBRARIES[library][0](X, *WORKLOADS[workload])
        return [np.median(train(EPOCHS)[1:])]
    pair = [LIBRARIES[library][0](X[:n], *WORKLOADS["simple"])[1] for n in (1, 10_000)]
    return [np.median(clocked(f, times)[times // 10 :]) for f, times in zip(pair, (2000, 30), strict=True)]


def in_turns(columns, rounds, full):
    """{workload: {library: its figures}} for {workload: libraries}: the medians over the rounds."""
    taken = {workload: {library: [] for library in libraries} for workload, libraries in columns.items()}
    for turn in range(rounds):
        for workload, row in taken.items():
            print(f"round {turn + 1}/{rounds}  {workload}", file=sys.stderr)
            for library, figures in row.items():
                command = [sys.executable, __file__, *["--full"] * full, "--one", library, workload]
                environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
                child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
                figures.append(json.loads(child.stdout.splitlines()[-1]))
    return {w: {library: np.median(figures, axis=0) for library, figures in row.items()} for w, row in taken.items()}


def table(title, *rows):
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(f"\n{title}")
    for name, *cells in rows:
        print(f"  {name:{widths[0]}}", *(f"{cell:>{w}}" for cell, w in zip(cells, widths[1:], strict=True)), sep="   ")


def draw(path, title, workloads, seconds):
    """Bars of seconds {library: one for each workload}: a panel for each workload, each with its own scale from 0."""
    fig = plots.figure(max(8.2, 2 * len(workloads)), 3.8)
    for i, (ax, workload) in enumerate(zip(fig.subplots(1, len(workloads), squeeze=False)[0], workloads, strict=True)):
        for place, (library, column) in enumerate(seconds.items()):
            bar = ax.bar(place, column[i], 0.9, color=LIBRARIES[library][-1])
            if not math.isnan(column[i]):
                text = f"{column[i]:.2f}" if column[i] >= 0.1 else f"{column[i]:.3f}"
                ax.bar_label(bar, [text], fontsize=8, padding=2)
        plots.style_axes(ax).set_xlabel(label(workload).replace(", ", "\nbatches of ", 1), fontsize=8)
        ax.spines["left"].set_visible(False)
        ax.set(xticks=[], yticks=[])
    names = [library + " (squared error)" * (library == "scikit-learn") for library in seconds]
    fig.legend(ax.patches, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=9)
    fig.suptitle(title, fontsize=10)
    plots.save(fig, path)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    named = "; ".join(f"{workload} ({label(workload)})" for workload in WORKLOADS)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=named)
    parser.add_argument("--full", action="store_true", help="all 60,000 images of MNIST, not the bundled 10,000")
    parser.add_argument("--compile", action="store_true", help="torch.compile as well, which takes a while")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns of each library (%(default)s)")
    parser.add_argument("--one", nargs=2, metavar=("LIBRARY", "WORKLOAD"), help="measure only this, and print JSON")
    args = parser.parse_args(argv)
    if args.one:
        print(json.dumps(measure(*args.one, args.full)))
        return 0
    if unknown := set(args.workloads) - set(WORKLOADS):
        parser.error(f"expected WORKLOAD among {', '.join(WORKLOADS)}, got {', '.join(unknown)}: choose one of these")

    libraries = [n for n in LIBRARIES if args.compile or n != "torch.compile"]
    for library in list(libraries):
        if missing := [module for module in LIBRARIES[library][1] if find_spec(module) is None]:
            print(f"{library}: left out, not installed: {', '.join(missing)}")
            libraries.remove(library)
    columns = dict.fromkeys(args.workloads or WORKLOADS, libraries)
    columns |= {workload: [n for n in libraries if n not in NO_VAE] for workload in columns if WORKLOADS[workload][3]}
    columns["inference"] = [n for n in libraries if n not in ("torch.compile", "scikit-learn")]
    results = in_turns(columns, args.rounds, args.full)

    inference = results.pop("inference")
    seconds = {n: [float(row[n][0]) if n in row else math.nan for row in results.values()] for n in libraries}
    peers = [min(((row[n][0], n) for n in row if n != "npae"), default=(math.nan, "none")) for row in results.values()]
    ratios = [peer / own for (peer, _), own in zip(peers, seconds["npae"], strict=True)]
    what, cores = f"{60_000 if args.full else 10_000:,} digits", os.cpu_count()
    table(
        f"seconds per training epoch of {what} (less is better); rounds: {args.rounds}",
        ["", *libraries, "fastest peer", "peer / npae"],
        *(
            [
                label(workload),
                *(f"{seconds[n][i]:.3f}" if n in row else "-" for n in libraries),
                peers[i][1],
                f"{ratios[i]:.2f}",
            ]
            for i, (workload, row) in enumerate(results.items())
        ),
    )
    if any("scikit-learn" in row for row in results.values()):
        print("  scikit-learn minimises the squared error, the only loss it has; the others binary cross-entropy.")
    table(
        f"reconstruction by {label('simple').split(',')[0]} (less is better)",
        ["", *inference],
        ["one image, microseconds", *(f"{one * 1e6:.1f}" for one, _ in inference.values())],
        ["10,000 images, milliseconds", *(f"{many * 1e3:.2f}" for _, many in inference.values())],
    )
    packages = {"numpy": "numpy", "numba": "numba", "torch": "torch", "jax": "jax", "scikit-learn": "sklearn"}
    versions = [f"{name} {version(name)}" for name, module in packages.items() if find_spec(module)]
    print(f"\n{cores} cores, npae {npae.__version__} ({npae.backend_name()} backend), {', '.join(versions)}")

    low, high = (f"{ratio:.2g}" for ratio in (np.nanmin(ratios), np.nanmax(ratios)))
    times = low if low == high else f"{low} to {high}"
    title = (
        f"seconds for an epoch of {what} on {cores} cores, less is better\n"
        f"(the fastest other library takes {times} times as long as npae)"
    )
    draw(FIGURE, title, list(results), seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
