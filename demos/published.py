"""Published results on MNIST, run again: `python demos/published.py NAME`, several names, or `all`.

    hinton      784-1000-500-250-30: squared error per image                        9 minutes
    keras       784-32-784: cross-entropy per pixel                                10 seconds
    keras-deep  784-128-64-32-64-128-784: cross-entropy per pixel                  40 seconds
    vae         784-400-20, grey pixels: the bound per image                       20 seconds
    burda       784-200-200-50, black and white pixels: log-likelihood per image   15 minutes
    k-sparse    1,000 units of which 25 describe an image: linear read-out          4 minutes
    winners     2,000 units of which each takes 5 % of a batch: linear read-out    5 minutes
    contractive 1,000 units, contractive, denoising, plain; linear read-outs        8 minutes
    pretraining the network of `hinton`, with and without greedy pretraining       10 minutes

It prints each figure beside the published one, with seconds and peak memory, and draws `figures/published.png`, the
training loss of all models so far. It learns from all 60,000 training images, which `npae.datasets.mnist` finds or
downloads, and looks at the test images once, in the end. With `--validate` it learns from the first 50,000 and looks
at the other 10,000 instead: on these all settings were chosen.

Ctrl-C stops. The same command goes on after the last whole epoch, and measures again what is trained. `--anew` forgets
earlier runs of these names. Read beside it: demos/readout.py.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import npae
from npae import plots
from npae.datasets.remote import cache_folder

sys.path.append(str(Path(__file__).parent))
import readout

FIGURE = Path(__file__).parent / "figures" / "published.png"
VALIDATED = 1 / 6  # the share of the training images that --validate looks at
SEEDS = 3  # of `contractive`
LOOKS = [(plots.BLUE, "-"), (plots.ORANGE, "-"), (plots.BLUE, "--"), (plots.ORANGE, "--")]


class Changed:
    """Batches of X, shuffled, each changed by change(x, rng): other ones in each epoch, the same ones in each run."""

    def __init__(self, X, batch_size, change):
        self.X, self.batch_size, self.change, self.epoch = X, batch_size, change, 0

    def __len__(self):
        return -(-len(self.X) // self.batch_size)

    def __iter__(self):
        rng = np.random.default_rng(self.epoch)
        self.epoch += 1
        for rows in np.array_split(rng.permutation(len(self.X)), len(self)):
            yield self.change(self.X[rows], rng)


def black_and_white(x, rng):
    """Each pixel is 1 with the probability of its grey value, else 0."""
    return (rng.random(x.shape, dtype=np.float32) < x).astype(np.float32)


def shifted(x, rng):
    """Each image moved by -1, 0 or 1 pixels in each direction: pixel j comes from j - 28 down - right."""
    down, right = rng.integers(-1, 2, (2, len(x), 1))
    return np.take_along_axis(x, (np.arange(784) - 28 * down - right) % 784, axis=1)


def same(one, other):
    """Have two models the same settings, and the same initial weights if they bring networks?"""
    weights = [
        [] if model.encoder is None else [p.value for net in (model.encoder, model.decoder) for p in net.parameters()]
        for model in (one, other)
    ]
    return repr(one) == repr(other) and all(map(np.array_equal, *weights))


@dataclass
class Study:
    """The images to learn from and those to look at, their digits, and where models are kept.

    `epochs` cuts every training short. `histories` are those of the models that were fitted.
    """

    X: np.ndarray
    X_look: np.ndarray
    y: np.ndarray
    y_look: np.ndarray
    folder: Path
    epochs: int | None = None
    histories: dict = field(default_factory=dict)

    def fit(self, name, model, X=None):
        """The model, fitted to X (or to all images), from where an earlier run stopped."""
        X, path = self.X if X is None else X, self.folder / f"{name}.npz"
        model.epochs = min(model.epochs, self.epochs or model.epochs)
        earlier = npae.load(path) if path.exists() else None
        resume = earlier is not None and same(earlier, model)
        if resume:
            model = earlier
            if isinstance(X, Changed):
                X.epoch = len(model.history_.loss)
        if not resume or len(model.history_.loss) < model.epochs:
            path.parent.mkdir(parents=True, exist_ok=True)
            model.fit(X, checkpoint=path, resume=resume)
        self.histories[name] = model.history_
        if len(model.history_.loss) < model.epochs:
            raise SystemExit(f"{name}: {model.history_.stopped}; the same command goes on from there")
        return model

    def seconds(self, name):
        """Of the training of a result's models, all runs together: they are called NAME or NAME.and more."""
        return sum(sum(h.seconds) for model, h in self.histories.items() if model.split(".")[0] == name)


# --- the results -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What was published, the bar that is set here, and how to measure it: at most the bar is wanted."""

    what: str
    published: str
    bar: float
    digits: int
    measure: Callable[[Study], float]


def squared_error(ae, X):
    """|x_hat - x|², the mean of all images."""
    return np.square(ae.reconstruct(X) - X).sum(axis=1).mean()


def read_out(encode, study, **options):
    """The share of images whose digit a linear read-out of their codes gets wrong."""
    return readout.error(encode(study.X), study.y, encode(study.X_look), study.y_look, **options)


def hinton(study):
    adam = npae.Adam(npae.Cosine(2e-3), beta2=0.99)
    ae = npae.AE((1000, 500, 250), 30, activation="elu", loss="bce", optimizer=adam, epochs=60, random_state=0)
    ae = study.fit("hinton", ae, Changed(study.X, ae.batch_size, shifted))
    return squared_error(ae, study.X_look)


def keras(study):
    adam = npae.Adam(npae.Cosine(2e-2))
    ae = study.fit("keras", npae.AE((), 32, loss="bce", optimizer=adam, epochs=20, random_state=0))
    return -ae.score(study.X_look)


def keras_deep(study):
    adam = npae.Adam(npae.Cosine(5e-3))
    ae = npae.AE((128, 64), 32, activation="elu", loss="bce", optimizer=adam, epochs=50, random_state=0)
    return -study.fit("keras-deep", ae).score(study.X_look)


def vae(study):
    adam = npae.Adam(npae.Cosine(5e-3))
    model = npae.VAE((400,), 20, loss="bce", optimizer=adam, epochs=10, batch_size=64, random_state=0)
    return -study.fit("vae", model).score(study.X_look)


def burda(study):
    adam = npae.Adam(npae.Cosine(3e-3))
    model = npae.VAE((200, 200), 50, activation="elu", loss="bce", optimizer=adam, epochs=330, random_state=0)
    model = study.fit("burda", model, Changed(study.X, model.batch_size, black_and_white))
    X = black_and_white(study.X_look, np.random.default_rng(0))
    return -model.log_likelihood(X, samples=5000 if study.epochs is None else 5).mean()


def k_sparse(study):
    """Starts from winners, since many units that start from chance are never among the 25 and never learn."""
    options = {"loss": npae.Gaussian(0.3), "batch_size": 100, "random_state": 0}
    adam, winners = npae.Adam(npae.Cosine(3e-3)), npae.WinnerTakeAll(0.05)
    start = npae.AE((), 1000, code=winners, tied=True, optimizer=adam, epochs=25, **options)
    start = study.fit("k-sparse.first winners", start)
    adam, encoder = npae.Adam(npae.Cosine(1e-4)), npae.Sequential(*start.encoder_.layers, npae.TopK(25))
    ae = npae.AE(encoder=encoder, decoder=start.decoder_, optimizer=adam, epochs=6, **options)
    ae = study.fit("k-sparse.then k largest", ae)
    code = npae.Sequential(ae.encoder_.layers[0], npae.ReLU(), npae.TopK(100))  # more than in training, as published
    return read_out(code.forward, study)


def winners(study):
    adam = npae.Adam(npae.Cosine(3e-3))
    code, loss = npae.WinnerTakeAll(0.05), npae.Gaussian(0.3)
    ae = npae.AE((), 2000, code=code, tied=True, loss=loss, optimizer=adam, epochs=25, batch_size=100, random_state=0)
    ae = study.fit("winners", ae)
    return read_out(ae.encode, study)


def contractive(study):
    """The larger quotient of neighbours in the published order of errors: below 1 if all three are in order."""
    kinds = {
        "contractive": (npae.AE, {"penalty": npae.Contractive(1e-3)}),
        "denoising": (npae.DAE, {"corruption": npae.MaskingNoise(0.5)}),
        "plain": (npae.AE, {}),
    }
    options = {"code": "sigmoid", "tied": True, "loss": "bce", "optimizer": npae.Adam(npae.Cosine(1e-3)), "epochs": 10}
    means = []
    for kind, (model, own) in kinds.items():
        errors = []
        for seed in range(SEEDS):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "AE expected a code smaller")  # nothing limits the plain one, indeed
                ae = study.fit(f"contractive.{kind}.{seed}", model((), 1000, **options, **own, random_state=seed))
            errors.append(read_out(ae.encode, study, learning_rate=1e-2, decay=0.02))
        means.append(np.mean(errors))
        print(f"    {kind:12}{means[-1]:8.4f} =  mean of", *(f"{error:.4f}" for error in errors), flush=True)
    return max(means[0] / means[1], means[1] / means[2])


def pretraining(study):
    """Squared error with pretraining over that without, for logistic units as in 2006.

    In an epoch, all layers one by one have as many multiplications as the network: it gets as many epochs more.
    """
    ratios, adam = {}, npae.Adam(npae.Cosine(2e-3))
    for activation in ("elu", "sigmoid"):
        options = {"loss": "bce", "optimizer": adam, "random_state": 0}
        deep = npae.AE((1000, 500, 250), 30, activation=activation, epochs=min(5, study.epochs or 5), **options)
        started = time.perf_counter()
        encoder, decoder = npae.pretrain(deep, study.X)
        before = time.perf_counter() - started
        tuned = npae.AE(encoder=encoder, decoder=decoder, epochs=15, **options)
        tuned = study.fit(f"pretraining.{activation} with", tuned)
        plain = study.fit(f"pretraining.{activation} without", deep.set_params(epochs=20))
        errors = [squared_error(ae, study.X_look) for ae in (tuned, plain)]
        ratios[activation] = errors[0] / errors[1]
        print(f"    {activation:8} with: {errors[0]:.2f} in {before:.0f} + {sum(tuned.history_.seconds):.0f} seconds,"
              f" without: {errors[1]:.2f} in {sum(plain.history_.seconds):.0f} seconds", flush=True)  # fmt: skip
    return ratios["sigmoid"]


RESULTS = {
    "hinton": Result("784-1000-500-250-30, squared error", "3.00 (2006), 2.46 (2010)", 3.00, 2, hinton),
    "keras": Result("784-32-784, cross-entropy", "0.09 (50 epochs)", 0.0925, 4, keras),
    "keras-deep": Result("784-128-64-32, cross-entropy", "0.08 (100 epochs)", 0.08, 4, keras_deep),
    "vae": Result("784-400-20, bound in nats", "105.6", 105.6, 1, vae),
    "burda": Result("784-200-200-50, -log p(x) in nats", "86.76 (3,280 epochs)", 90.3, 2, burda),
    "k-sparse": Result("1,000 units, k = 25, read-out error", "0.0135", 0.015, 4, k_sparse),
    "winners": Result("2,000 units, 5 %, read-out error", "0.012", 0.014, 4, winners),
    "contractive": Result("read-out error / that of the next", "0.97, 0.66 (fine-tuned)", 1.0, 2, contractive),
    "pretraining": Result("squared error with it / without", "it helped", np.inf, 2, pretraining),
}


def memory():
    """The most memory that this process has used, in gigabytes, if the system tells."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e9 if sys.platform == "darwin" else 1e6)


def draw(folder, path):
    """The training loss of every epoch of the models in the folder; of several seeds the first."""
    panels = {name: {} for name in RESULTS}
    for model in sorted(folder.glob("*.npz")):
        name, kind, *_ = f"{model.stem}.".split(".")
        panels.get(name, {}).setdefault(kind, model)
    panels = {name: kinds for name, kinds in panels.items() if kinds}
    columns = min(5, len(panels))
    lines = -(-len(panels) // columns)
    fig = plots.figure(2.4 * columns, 2.6 * lines)
    for i, (name, kinds) in enumerate(panels.items(), start=1):
        ax = fig.add_subplot(lines, columns, i)
        for (kind, model), (color, style) in zip(kinds.items(), LOOKS, strict=False):
            plots.history(npae.load(model), ax).set_title(name)
            ax.lines[-1].set(color=color, linestyle=style, label=kind)
        if len(kinds) > 1:
            ax.legend(frameon=False, fontsize=8)
    plots.save(fig, path)


def main(arguments=None, data=None, path=FIGURE):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=[*RESULTS, "all"], metavar="NAME")
    parser.add_argument("--validate", action="store_true", help="look at held-out training images")
    parser.add_argument("--anew", action="store_true", help="forget earlier runs of these names")
    parser.add_argument("--epochs", type=int, help="cut every training short")
    parser.add_argument("--folder", type=Path, default=cache_folder() / "published", help="where models are kept")
    options = parser.parse_args(arguments)
    X, X_look, y, y_look = data or npae.datasets.mnist(labels=True)
    if options.validate:
        n = len(X) - round(VALIDATED * len(X))
        X, X_look, y, y_look = X[:n], X[n:], y[:n], y[n:]
    cut = f"-{options.epochs}" if options.epochs else ""  # a short run must not replace the model of a long one
    folder = options.folder / (("validate" if options.validate else "test") + cut)
    names = RESULTS if "all" in options.names else options.names
    if options.anew:
        for name in names:
            for model in [folder / f"{name}.npz", *folder.glob(f"{name}.*.npz")]:
                model.unlink(missing_ok=True)
    study, reached = Study(X, X_look, y, y_look, folder, options.epochs), True
    print(f"{'':12}{'here':>9}{'at most':>9}  {'seconds':>7}  {'GB':>4}  published")
    for name in names:
        result = RESULTS[name]
        value = float(result.measure(study))
        reached = reached and value <= result.bar
        print(f"{name:12}{value:9.{result.digits}f}{result.bar:9}  {study.seconds(name):7.0f}  {memory():4.1f}  "
              f"{result.published}: {result.what}", flush=True)  # fmt: skip
    draw(folder, path if options.epochs is None and not options.validate else folder / "published.png")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
