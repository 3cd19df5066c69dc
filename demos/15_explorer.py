"""Move in a code and see what it means: three models as pages for a browser, with mouse, finger or keyboard.

A page is one file: the weights, some test images, and a script that computes z = f(x) and x̂ = g(z) at every move.

    explorer_ae.html      two numbers: drag on their map, and the decoder draws; a film of the training
    explorer_vae.html     eight numbers that fill N(0, I): a slider for each, and samples
    explorer_dae.html     draw a digit, add noise, and see what comes back

The weights take eight bits each, with a scale s for each unit: q = round(W / s). Files become 3.4 times smaller, and
the reconstruction error hardly changes.
Run it: about 40 seconds. It writes the pages beside `figures/15_explorer.png`, a picture of the first, and prints their
sizes and errors. Read beside it: npae/storage/page.py, npae/storage/formulas.py.
Now try four bits: write 7 for both 127 in `page.quantised`. The squared errors rise by 9, 10 and 3 %.
Now try the DAE's page without noise: the mean error of a test image rises from 14.9 to 28.0. f has seen no clean image.
"""

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import npae
from npae import plots

sys.path.append(str(Path(__file__).parent))
map_of_digits = importlib.import_module("05_latent_space")

FIGURE = Path(__file__).parent / "figures" / "15_explorer.png"
ERROR, MORE = 34.0, 0.01  # squared error per test image of the AE's two numbers; the most that eight bits may add
LOOK = ["--headless", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=0.8"]


def models(epochs):
    more = {"loss": "bce", "optimizer": npae.Adam(npae.Cosine(2e-3)), "random_state": 0, "verbose": True}
    yield map_of_digits.model(epochs)
    yield npae.VAE((256, 128), 8, activation="elu", epochs=epochs, batch_size=128, **more)
    yield npae.DAE((256,), 64, corruption=npae.GaussianNoise(0.5, clip=(0, 1)), epochs=epochs, batch_size=128, **more)


def export(model, page, X, y, **more):
    """Write a page; return its size in bytes, and the squared errors per test image that it states."""
    model.export(page, X, labels=y, image_shape=(28, 28), **more)
    errors = json.loads(re.search(r'id="model">(.*?)</script>', page.read_text(encoding="utf-8"))[1])["errors"]
    return page.stat().st_size, 784 * errors["model"], 784 * errors["page"]


def picture(ae, page, X, y, path):
    """The page in a browser; without one, the codes of its model."""
    fig = plots.figure(9, 6)
    plots.latent_scatter(ae, X[:1000], y[:1000], fig.subplots())
    plots.save(fig, path)
    if browser := shutil.which("chromium") or shutil.which("google-chrome"):
        command = [browser, *LOOK, "--window-size=1180,1020", f"--screenshot={path.resolve()}", page.resolve().as_uri()]
        subprocess.run(command, capture_output=True, timeout=60, check=False)


def main(path=FIGURE, epochs=16):
    (X_train, X, _, y), reached, kept = npae.datasets.digits(labels=True), True, npae.KeepWeights(every=1 + epochs // 9)
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, model in zip(("ae", "vae", "dae"), models(epochs), strict=True):
        page = path.with_name(f"explorer_{name}.html")
        model.fit(X_train, callbacks=kept if name == "ae" else ())
        large, exact, _ = export(model, page, X, y)
        small, _, error = export(model, page, X, y, weights="int8")
        more, limit = error / exact - 1, f" (must be at most {ERROR})" if name == "ae" else ""
        print(f"{page.name}: {large:,} bytes, in eight bits {small:,}; squared error per image {exact:.2f}{limit}, "
              f"in eight bits {more:+.2%} (must be at most {MORE:+.0%})")  # fmt: skip
        reached = reached and more <= MORE and (name != "ae" or exact <= ERROR)
        if name == "ae":
            export(model, page, X, y, weights="int8", kept=kept)
            picture(model, page, X, y, path)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
