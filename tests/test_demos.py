"""The demos run without a screen, draw their picture, learn from no test image, and fail if they miss their figure."""

import ast
import importlib.util
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers import HAVE_NUMBA

import npae

FOLDER = Path(__file__).parent.parent / "demos"
DEMOS = sorted(FOLDER.glob("[0-9]*.py"))
TRAINING = [path for path in DEMOS if "epochs" in path.read_text(encoding="utf-8")]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def seen(monkeypatch):
    """The bytes of every row that a model of this test learns from or is validated on."""
    rows = set()
    for kind in (npae.AE, npae.VAE, npae.PCA):

        def fit(self, X, *args, original=kind.fit, **options):
            for table in (getattr(X, "X", X), options.get("validation", ())):  # of `published.Changed`, or a table
                rows.update(row.tobytes() for row in np.asarray(table))
            return original(self, X, *args, **options)

        monkeypatch.setattr(kind, "fit", fit)

    def backward(self, grad_y, original=npae.Sequential.backward):  # training loops without fit
        rows.update(row.tobytes() for row in np.asarray(getattr(self.layers[0], "_x", ())))
        return original(self, grad_y)

    monkeypatch.setattr(npae.Sequential, "backward", backward)
    return rows


@pytest.fixture
def figures(monkeypatch):
    """The figures that a demo saves; no file is written."""
    pytest.importorskip("matplotlib")
    saved = []
    monkeypatch.setattr("npae.plots.save", lambda fig, path: saved.append(fig))
    return saved


def images_of_the_test_set():
    """The test images as the demos use them: whole, as means of 2 x 2 pixels, and without the training images' mean."""
    X_train, X = npae.datasets.digits()
    halved = X.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)
    return {row.tobytes() for table in (X, halved, X - X_train.mean(axis=0)) for row in table}


@pytest.mark.parametrize("path", TRAINING, ids=lambda p: p.stem)
def test_a_demo_cut_short_fails_still_draws_and_has_seen_no_test_image(path, tmp_path, capsys, monkeypatch, seen):
    pytest.importorskip("matplotlib")
    monkeypatch.delenv("DISPLAY", raising=False)
    picture = tmp_path / "figures" / "picture.png"
    assert load(path).main(picture, epochs=1) == 1
    assert picture.read_bytes().startswith(b"\x89PNG")
    out, err = capsys.readouterr()
    assert "must be" in out
    if "verbose=True" in path.read_text(encoding="utf-8"):
        assert err.startswith("epoch 1/1")
    leaked = len(seen & images_of_the_test_set())
    assert leaked == 0
    assert len(seen) > 0


@pytest.mark.parametrize("sign", [1, -1])
def test_the_first_demo_notices_a_flipped_sign_in_backward(sign, figures, monkeypatch):
    backward = npae.Dense.backward
    monkeypatch.setattr(npae.Dense, "backward", lambda self, grad_y: sign * backward(self, grad_y))
    assert load(FOLDER / "01_autoencoder.py").main(epochs=8) == (0 if sign == 1 else 1)


def test_the_comparison_with_pca_fails_if_one_size_falls_short(figures):
    demo = load(FOLDER / "03_pca_vs_autoencoder.py")
    demo.SIZES, demo.GAP, demo.BELOW = (8, 16), np.inf, 0.2
    demo.nonlinear = lambda k, epochs: npae.PCA(2 * k)
    assert demo.main(epochs=1) == 0
    demo.nonlinear = lambda k, epochs: npae.PCA(2 * k if k == 8 else k)
    assert demo.main(epochs=1) == 1


def test_the_picture_of_losses_marks_the_best_of_each_column(figures):
    demo = load(FOLDER / "04_losses.py")
    demo.model = lambda loss, epochs: npae.PCA({"mse": 4, "bce": 16}.get(loss, 2))
    assert demo.main() == 1
    (ax,) = figures[0].axes
    marked = [text.get_position()[1] for text in ax.texts if text.get_weight() == "bold"]
    assert marked == [ax.get_yticks()[2]] * 3  # the row of BCE, whose model is the best at everything


def test_the_gradient_demo_fails_if_a_fault_goes_uncaught(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    demo = load(FOLDER / "07_gradient_check.py")
    assert demo.main(tmp_path / "picture.png") == 0
    assert capsys.readouterr().out.count("WRONG") == 5
    assert demo.main(tmp_path / "picture.png", faults=(demo.WrongSlope, npae.Tanh)) == 1  # the second is none
    assert "faults caught: 1 of 2" in capsys.readouterr().out


def test_principal_angles_are_those_of_a_turned_plane():
    angles = load(FOLDER / "03_pca_vs_autoencoder.py").angles
    turn = np.radians(30)
    V = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0]])
    W = np.array([[3.0, 0, 0, 0], [1, np.cos(turn), 0, np.sin(turn)]])  # the same first axis, the second turned
    np.testing.assert_allclose(np.sort(angles(V, W)), [0, 30], atol=1e-6)


def test_same_digit_counts_neighbours_with_the_same_label():
    demo = load(FOLDER / "05_latent_space.py")
    Z = np.repeat([[0.0, 0.0], [10.0, 0.0]], 7, axis=0) + np.random.default_rng(0).random((14, 2))
    assert demo.same_digit(Z, np.repeat([3, 4], 7)) == 1
    assert demo.same_digit(Z, np.arange(14)) == 0


def test_coherence_is_one_for_stripes_and_near_zero_for_crossed_stripes_and_speckle():
    coherence = load(FOLDER / "17_filters.py").coherence
    row, column = np.mgrid[:28, :28] * np.pi / 4
    speckle = np.random.default_rng(0).standard_normal((28, 28))
    images = np.sin(column), np.sin(row), np.sin(row + 2 * column), np.sin(row) + np.sin(column), speckle
    values = coherence(np.stack(images).reshape(5, 784).T)
    np.testing.assert_allclose(values[:3], 1, atol=0.02)
    assert (values[3:] < 0.1).all()
    np.testing.assert_allclose(coherence(-3 * speckle.reshape(784, 1)), values[4:])


def test_the_distance_to_training_counts_the_pixels_that_differ():
    nearest = load(FOLDER / "06_generate.py").nearest
    X = np.zeros((2, 784))
    X[1, :100] = 1
    images = X.copy()
    images[0, 50:53] = 1  # three pixels
    images[1, 0] = 0  # one
    assert nearest(images, X) == pytest.approx(2)


def test_the_benchmark_names_workloads_by_their_network(figures):
    benchmark = load(FOLDER / "benchmark.py")
    names = [benchmark.label(workload) for workload in benchmark.WORKLOADS]
    assert len(set(names)) == len(names)
    for name, (widths, batch, *_) in zip(names, benchmark.WORKLOADS.values(), strict=True):
        assert name.startswith("-".join(map(str, widths[: len(widths) // 2 + 1])))
        assert f", {batch}" in name
    seconds = {"npae": [1.0, 0.02], "NumPy": [2.0, 0.03]}
    benchmark.draw("benchmark.png", "two workloads", ["simple", "wide"], seconds)
    heights = [[bar.get_height() for bar in ax.patches] for ax in figures[0].axes]
    assert heights == [[1, 2], [0.02, 0.03]]


def test_the_area_under_the_curve_counts_pairs_in_the_right_order():
    auc = load(FOLDER / "10_anomaly.py").auc
    new = np.array([True, True, False, False, False])
    assert auc(np.array([5.0, 4.0, 3.0, 2.0, 1.0]), new) == 1
    assert auc(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), new) == 0
    assert auc(np.array([5.0, 2.0, 3.0, 1.0, 4.0]), new) == pytest.approx(4 / 6)
    assert auc(np.ones(5), new) == 0.5


def test_the_anomaly_score_is_the_error_inside_each_erased_square_per_ink():
    demo = load(FOLDER / "10_anomaly.py")
    assert demo.HIDE.shape == (36, 196)
    assert (demo.HIDE.sum(axis=1) == 49).all()
    assert demo.HIDE.reshape(36, 14, 14)[8, 2:9, 3:10].all()  # the square that begins at row 2, column 3
    X = np.full((3, 196), 0.5, np.float32)

    class Echo:  # what it is shown, and 0.2 too much of it everywhere
        def denoise(self, x):
            return x + 0.2

    np.testing.assert_allclose(demo.score(Echo(), X), 49 * 0.3**2 / 98, rtol=1e-5)
    erased = demo.erase(X, np.random.default_rng(0))
    assert ((erased == 0).sum(axis=1) == 49).all()
    assert (erased[0] != erased).any()


def test_a_mixture_finds_the_components_it_was_drawn_from():
    mixture, rng = load(FOLDER / "mixture.py"), np.random.default_rng(0)
    means, spreads = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]]), np.array([[1, 0.5], [0.5, 2], [1, 1]])
    true = mixture.Mixture(np.array([0.5, 0.3, 0.2]), means, np.array([np.diag(s**2) for s in spreads]), [])
    Z = true.sample(6000, rng)
    found = mixture.fit(Z, 3, rng)
    order = [np.square(found.mu - m).sum(axis=1).argmin() for m in means]
    np.testing.assert_allclose(found.mu[order], means, atol=0.15)
    np.testing.assert_allclose(found.w[order], true.w, atol=0.02)
    np.testing.assert_allclose(found.C[order], true.C, atol=0.25)
    assert (np.diff(found.log_likelihood) > -1e-5).all()
    assert len(found.log_likelihood) == 20
    even = mixture.Mixture(np.array([0.9, 0.1]), np.zeros((2, 1)), np.ones((2, 1, 1)), [])
    terms = mixture.log_terms(even, np.zeros((1, 1)))
    assert terms[0, 0] - terms[0, 1] == pytest.approx(np.log(9))  # equal components, one of which is drawn more often


def test_a_mixture_of_one_is_the_gaussian_with_the_datas_mean_and_covariance():
    mixture, rng = load(FOLDER / "mixture.py"), np.random.default_rng(1)
    Z = rng.standard_normal((500, 3)) @ np.array([[2.0, 0, 0], [1, 1, 0], [0, 0, 0.1]]) + 5
    one = mixture.fit(Z, 1, rng)
    np.testing.assert_allclose(one.mu[0], Z.mean(axis=0))
    np.testing.assert_allclose(one.C[0], np.cov(Z.T, bias=True), atol=1e-4)
    drawn = one.sample(50_000, rng)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(Z.T), rtol=0.05, atol=0.02)


@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed or not wanted")
def test_the_ladder_checks_every_rung_and_its_figure(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    ladder = load(FOLDER / "08_matmul_ladder.py")
    peak = sys.modules["peak"]
    monkeypatch.setattr(peak, "fastest", partial(peak.fastest, runs=1))  # nothing here depends on how fast it is
    monkeypatch.setattr(peak, "median_seconds", partial(peak.median_seconds, together=0.0))
    ladder.BAR = 0
    assert ladder.main(tmp_path / "picture.png", n=96) == 0
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    out, _ = capsys.readouterr()
    for rung in ("naive", "reordered", "blocked", "parallel", "register tile", "packed", "must be at least 0"):
        assert rung in out
    ladder.BAR = 1e9
    assert ladder.main(tmp_path / "picture.png", n=96) == 1
    ladder.naive = lambda a, b, c: np.copyto(c, a)  # a wrong rung is found before it is timed
    with pytest.raises(SystemExit, match=r"naive: up to .* away from NumPy's product"):
        ladder.main(tmp_path / "picture.png", n=96)


def test_the_ladder_without_numba_says_what_to_install():
    program = "import sys, runpy; sys.modules['numba'] = None; runpy.run_path('demos/08_matmul_ladder.py')"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'pip install "npae[demos]"' in done.stderr


@pytest.mark.parametrize("path", DEMOS, ids=lambda p: p.stem)
def test_a_demo_is_short_guarded_and_its_picture_is_committed(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 80
    assert 'if __name__ == "__main__":\n    sys.exit(main())' in text
    lesson = ast.get_docstring(ast.parse(text))
    assert lesson.count("Now try") >= 2
    assert "Run it" in lesson
    for file in re.findall(r"[\w/]+\.(?:py|md)\b", lesson[lesson.index("Read beside it") :]):
        assert (FOLDER.parent / file).exists(), file
    picture = path.parent / "figures" / f"{path.stem}.png"
    assert 5_000 < picture.stat().st_size < 200_000
