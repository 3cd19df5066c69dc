"""The demos work without a screen, draw their picture, and say so when they miss their figure."""

import ast
import importlib.util
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import HAVE_NUMBA

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


@pytest.mark.parametrize("path", TRAINING, ids=lambda p: p.stem)
def test_a_demo_that_misses_its_figure_fails_and_still_draws(path, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.delenv("DISPLAY", raising=False)
    picture = tmp_path / "figures" / "picture.png"
    assert load(path).main(picture, epochs=1) == 1
    assert picture.read_bytes().startswith(b"\x89PNG")
    out, err = capsys.readouterr()
    assert "must be" in out
    if "verbose=True" in path.read_text(encoding="utf-8"):
        assert err.startswith("epoch 1/1")


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


def test_the_measures_of_the_latent_space_demo_count_what_they_say():
    demo = load(FOLDER / "05_latent_space.py")
    Z = np.repeat([[0.0, 0.0], [10.0, 0.0]], 7, axis=0) + np.random.default_rng(0).random((14, 2))
    assert demo.same_digit(Z, np.repeat([3, 4], 7)) == 1
    assert demo.same_digit(Z, np.arange(14)) == 0
    W = np.zeros((784, 2))
    W[:196] = 2.0
    W[196:392] = 1.0
    ae = npae.AE(encoder=npae.Sequential(npae.Dense(784, 2)), decoder=npae.Sequential(npae.Dense(2, 784)), epochs=0)
    X = np.zeros((200, 784), np.float32)
    X[:, :196] = 1
    X[0, 300] = 1  # ink in half a per cent of the images is none
    ae.fit(X).encoder_.layers[0].W.value[:] = W
    assert demo.on_blank(ae, X) == pytest.approx(0.2)


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


def test_a_mixture_finds_the_bells_it_was_drawn_from():
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
    assert terms[0, 0] - terms[0, 1] == pytest.approx(np.log(9))  # the same bells, of which one is drawn more often


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
    for rung in ("naive", "reordered", "blocked", "parallel", "register tile", "must be at least 0"):
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
