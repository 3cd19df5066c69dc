"""A code larger than needed, of which each image uses little: its units become parts of digits.

A code of 256 numbers hardly limits what passes. The limit is how many of them are active. Three ways to set it:

    L1      Ω = λ mean |z|              a price on each number: the network decides which ones to use
    KL      Ω = λ Σ_j KL(ρ ‖ ρ_j)       the mean activity ρ_j of each unit j should be ρ = 0.05
    TopK    z = the k largest of f(x)   exactly k numbers, and no price

Speckle cannot explain an image with few units. With 25 active units they become strokes, with 5 whole digits. PCA has
the same 25 directions for all images; TopK(25) chooses 25 of 256 for each. All networks see x - mean, as PCA does.
Run it: about 30 seconds. It prints how active the code is, the squared error per test image and the coherence of
the filters, and draws `figures/12_sparse.png`. Read beside it: npae/penalties.py, npae/codes.py, demos/17_filters.py.
Now try it without `- ...mean(axis=0)`: coherence 0.20 (L1) and 0.35 (TopK(25)). Over half of L1's units stay inactive.
Now try npae.L1(0.2): 9 % of the numbers are not 0, the squared error is 11.3, the coherence 0.31.
"""

import importlib
import sys
from pathlib import Path

import numpy as np

import npae
from npae import plots

sys.path.append(str(Path(__file__).parent))
filters = importlib.import_module("17_filters")  # a name that `import` does not allow
FIGURE = Path(__file__).parent / "figures" / "12_sparse.png"
RHO, SIZES = 0.05, (5, 10, 25, 50, 100)
BELOW, NONZERO, ACTIVITY, COHERENCE = 0.40, 0.25, 0.10, 1.5  # the bars, in the order in which they are printed


def model(last, penalty, epochs, rate=5e-3):
    """784-256-784 with tied weights: with others, a large decoder could undo L1. The encoder ends in `last`."""
    f, g = npae.Sequential(npae.Dense(784, 256, rng=0), last), npae.Sequential(npae.TiedDense(256, 784))
    npae.tied.tie(f, g)
    if isinstance(last, npae.Sigmoid):
        f.layers[0].b.value[:], rate = np.log(RHO / (1 - RHO)), 2e-2  # begin at the aim, sigmoid(b) = ρ
    adam = npae.Adam(npae.Cosine(rate), weight_decay=0.3)
    return npae.AE(encoder=f, decoder=g, penalty=penalty, optimizer=adam, epochs=epochs, random_state=0, verbose=True)


def main(path=FIGURE, epochs=10):
    X, X_test = (images - npae.datasets.digits()[0].mean(axis=0) for images in npae.datasets.digits())
    zoo = {"no penalty, sigmoid": (npae.Sigmoid(), None), "KL, sigmoid": (npae.Sigmoid(), npae.KLSparsity(RHO, 1e-2))}
    zoo |= {"no penalty, ReLU": (npae.ReLU(), None), "L1, ReLU": (npae.ReLU(), npae.L1(0.1))}
    zoo |= {f"TopK({k})": (npae.TopK(k), None) for k in SIZES}
    left, right = (fig := plots.figure(9.6, 3.7)).subfigures(1, 2, width_ratios=[1.9, 1])
    panels = dict(zip((*list(zoo)[:4], "TopK(25)", "TopK(5)"), left.subplots(3, 2).flat, strict=True))
    pca, table = npae.PCA(max(SIZES)).fit(X), []
    print("256 units               not 0   mean z   coherence   squared error")
    for name, (last, penalty) in zoo.items():
        ae = model(last, penalty, epochs).fit(X)
        Z, edges = ae.encode(X_test), filters.coherence(ae.encoder_.layers[0].W.value).mean()
        table.append([np.mean(Z != 0), Z.mean(), edges, np.square(X_test - ae.reconstruct(X_test)).sum(axis=1).mean()])
        print("  {:20}{:8.1%}{:9.3f}{:12.2f}{:16.2f}".format(name, *table[-1]))
        if name in panels:
            plots.filters(ae, panels[name], range(16)).set_title(f"{name}: coherence {edges:.2f}")
    X_pca = [pca.decode(pca.encode(X_test) * (np.arange(max(SIZES)) < k)) for k in SIZES]  # from the first k numbers
    flat, topk = [np.square(X_test - x).sum(axis=1).mean() for x in X_pca], [row[3] for row in table[4:]]
    print("PCA from", ", ".join(f"{k} numbers: {error:.2f}" for k, error in zip(SIZES, flat, strict=True)))
    (_, _, plain, _), (_, activity, edges_kl, _), (_, _, plain_relu, _), (nonzero, _, edges_l1, error), *_ = table
    below, times = 1 - topk[2] / flat[2], min(edges_kl / plain, edges_l1 / plain_relu)
    print(f"TopK(25)'s error is {below:.0%} below PCA's, L1 leaves {nonzero:.1%} of the numbers, KL has a mean z of")
    print(f"{activity:.3f}, and both raise the coherence at least {times:.1f} times")
    print(f"(must be at least {BELOW:.0%}, at most {NONZERO:.0%}, at most {ACTIVITY:.2f}, at least {COHERENCE} times)")
    ax = plots.style_axes(right.subplots(), "error from few numbers", "active numbers", "squared error per test image")
    ax.loglog(SIZES, flat, "o-", color=plots.GREY, label="PCA: the first k")
    ax.loglog(SIZES, topk, "s-", color=plots.BLUE, label="TopK(k): k of 256")
    ax.loglog(256 * nonzero, error, "D", color=plots.ORANGE, label="L1: on average")
    ax.set(xticks=SIZES, xticklabels=SIZES, yticks=(5, 10, 20, 40), yticklabels=(5, 10, 20, 40))
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize=8)
    plots.save(fig, path)
    return 0 if below >= BELOW and nonzero <= NONZERO and activity <= ACTIVITY and times >= COHERENCE else 1


if __name__ == "__main__":
    sys.exit(main())
