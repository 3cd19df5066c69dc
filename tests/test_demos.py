"""The demos work without a screen, draw their picture, and say so when they miss their figure."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import HAVE_NUMBA

FOLDER = Path(__file__).parent.parent / "demos"
DEMOS = sorted(FOLDER.glob("[0-9]*.py"))
TRAINING = [path for path in DEMOS if "epochs" in path.read_text(encoding="utf-8")]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
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
    assert err.startswith("epoch 1/1")


@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed or not wanted")
def test_the_ladder_checks_every_rung_and_its_figure(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    ladder = load(FOLDER / "08_matmul_ladder.py")
    assert ladder.main(tmp_path / "picture.png", n=96) == 0
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    out, _ = capsys.readouterr()
    for rung in ("naive", "reordered", "blocked", "parallel", "register tile", "must be at least 10"):
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
    picture = path.parent / "figures" / f"{path.stem}.png"
    assert 5_000 < picture.stat().st_size < 200_000


def test_the_plots_draw_on_the_axes_they_are_given_and_return_it():
    pytest.importorskip("matplotlib")
    import npae
    from npae import plots

    X = np.random.default_rng(0).random((12, 20))
    ae = npae.AE(hidden=(5,), latent_dim=3, epochs=2, random_state=0).fit(X, validation=X)
    fig = plots.figure(4, 6)
    a, b, c, d, e = fig.subplots(5)
    assert plots.image_rows({"one": X[:3], "two": X[3:5]}, a, (4, 5)) is a
    assert a.images[0].get_array().shape == (2 * 4 + 1, 3 * 5 + 2)
    assert [t.get_text() for t in a.get_yticklabels()] == ["one", "two"]
    assert plots.reconstructions(ae, X[:4], b, (4, 5)) is b
    np.testing.assert_allclose(b.images[0].get_array()[5:, :5], ae.reconstruct(X[:1]).reshape(4, 5))
    assert plots.denoising(ae, X[:4], X[4:8], c, (4, 5)) is c
    assert [t.get_text() for t in c.get_yticklabels()] == ["clean", "noisy", "denoised"]
    z = ae.encode(X[:1])[0]
    assert plots.code(z, d) is d
    np.testing.assert_allclose([bar.get_height() for bar in d.patches], z)
    assert plots.history(ae, e) is e
    np.testing.assert_allclose(e.lines[0].get_ydata(), ae.history_.loss)
    np.testing.assert_allclose(e.lines[1].get_ydata(), ae.history_.validation_loss)
    assert e.get_ylabel() == "MSE per element"
