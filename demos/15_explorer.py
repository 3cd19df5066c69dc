"""Move in a code and see what it means: three models as pages for a browser, with mouse, finger or keyboard.

A page is one file: the weights, some test images, and a script that computes z = f(x) and x̂ = g(z) at every move.

    explorer_ae.html      two numbers: drag on their map, and the decoder draws; a film of the training
    explorer_vae.html     eight numbers that fill N(0, I): a slider for each, and samples
    explorer_dae.html     draw a digit, add noise, and see what comes back

The weights take eight bits each, with a scale s for each unit: q = round(W / s). Files become nearly four times
smaller, and the reconstruction error hardly changes.

Run it: about 40 seconds. It writes the pages beside `figures/15_explorer.png`, a picture of the first, and prints their
sizes and errors. Read beside it: npae/storage/page.py, npae/storage/formulas.py.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import npae
from npae import plots
from npae.fitting.networks import build_autoencoder

FIGURE = Path(__file__).parent / "figures" / "15_explorer.png"
ERROR, MORE = 34.0, 0.01  # squared error per test image of the AE's two numbers; the most that eight bits may add
BROWSERS = "chromium", "chromium-browser", "google-chrome"
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1180,980"]


def models(epochs):
    more = {"loss": "bce", "epochs": epochs, "random_state": 0, "verbose": True, "optimizer": npae.Adam(npae.Cosine(2e-3))}
    widths, rng = [784, 256, 128, 64, 2], np.random.default_rng(2)  # the map of demo 05
    encoder, decoder = build_autoencoder(widths, npae.LeakyReLU(), npae.Identity(), np.float32, rng).layers
    yield npae.AE(encoder=npae.Sequential(encoder, npae.Sigmoid()), decoder=decoder, batch_size=32, **more)
    yield npae.VAE(hidden=(256, 128), latent_dim=8, activation="elu", batch_size=64, **more)
    yield npae.DAE(hidden=(256,), latent_dim=64, corruption=npae.GaussianNoise(0.5, clip=(0, 1)), batch_size=64, **more)


def export(model, page, X, y, **more):
    """Write a page; return its size in bytes, and the squared errors per test image that it states."""
    model.export(page, X, labels=y, image_shape=(28, 28), **more)
    errors = json.loads(re.search(r'id="model">(.*?)</script>', page.read_text(encoding="utf-8"))[1])["errors"]
    return page.stat().st_size, 784 * errors["model"], 784 * errors["page"]


def picture(ae, page, X, y, path):
    """The page in a browser; without one, the codes and the images that are decoded from all places."""
    a, b = (fig := plots.figure(9, 4)).subplots(1, 2)
    plots.latent_scatter(ae, X[:1000], y[:1000], a)
    plots.latent_grid(ae, X, b, 12)
    plots.save(fig, path)
    if browser := next(filter(None, map(shutil.which, BROWSERS)), None):
        command = [browser, *OPTIONS, f"--screenshot={path.resolve()}", page.resolve().as_uri()]
        subprocess.run(command, capture_output=True, timeout=60, check=True)


def main(path=FIGURE, epochs=16):
    X_train, X, _, y = npae.datasets.digits(labels=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept, reached = npae.KeepWeights(every=max(1, epochs // 8)), True
    for name, model in zip(("ae", "vae", "dae"), models(epochs), strict=True):
        model.fit(X_train, callbacks=kept if name == "ae" else ())
        page = path.with_name(f"explorer_{name}.html")
        large, exact, _ = export(model, page, X, y)
        small, _, error = export(model, page, X, y, weights="int8")
        print(f"{page.name}: {large:,} bytes, in eight bits {small:,}; squared error per test image {exact:.2f}, "
              f"in eight bits {error / exact - 1:+.2%} (must be at most {MORE:+.0%})")  # fmt: skip
        reached &= error <= (1 + MORE) * exact
        if name == "ae":
            print(f"  of which {exact:.2f} must be at most {ERROR}")
            size, reached = export(model, page, X, y, weights="int8", kept=kept)[0], reached and exact <= ERROR
            print(f"  with a film of {len(kept.epochs)} epochs {size:,} bytes")
            picture(model, page, X, y, path)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
