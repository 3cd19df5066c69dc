"""A page in a real browser: its numbers are NumPy's, it follows mouse, touch and keys, and asks for nothing.

`play` opens a copy of a page with a script of the test at its end, and returns what that script has found (see
`browser`). Without Chromium the tests are skipped; `.ci/run` installs it.
"""

import numpy as np
import pytest
from browser import IMAGE, NEEDS_CHROMIUM, QUICK, X, Y, browse, play, together, with_script
from explorer import Scaler

import npae

pytestmark = NEEDS_CHROMIUM
PAPER, PEN = 0xFF, 0x16  # the red of 0 and 1 in light colours


def shades(x_hat, low, high):
    """The red of each pixel of an image."""
    return PAPER + (PEN - PAPER) * np.clip((x_hat - low) / (high - low), 0, 1)


@pytest.fixture(scope="module")
def image_page(tmp_path_factory):
    """A model of images with three kept epochs, the weights of each, and its page."""
    kept = npae.KeepWeights()
    ae = npae.AE(**QUICK | {"epochs": 3}).fit(X, callbacks=kept)
    path = tmp_path_factory.mktemp("page") / "model.html"
    ae.export(path, X, **IMAGE, kept=kept)
    return ae, path


# --- images: by mouse, by touch and by keys --------------------------------------------------------------------------


def test_an_example_its_code_and_its_reconstruction_are_those_of_the_model(image_page):
    ae, path = image_page
    found = play(
        path,
        "$('examples').children[5].click(); found.z = sliders(); found.x = red($('x')); found.x_hat = red($('x_hat'));"
        "found.error = $('error').textContent; found.difference = red($('difference'));",
    )
    x = X[5:6]  # labels in turn: the order of the rows
    x_hat, (low, high) = ae.reconstruct(x), (X.min(), X.max())
    np.testing.assert_allclose(found["x"], shades(x[0], low, high), atol=1)
    np.testing.assert_allclose(found["x_hat"], shades(x_hat[0], low, high), atol=1)
    order = np.argsort(-ae.encode(X).var(axis=0))
    np.testing.assert_allclose(found["z"], ae.encode(x)[0][order], atol=1e-5)
    assert float(found["error"]) == pytest.approx(np.square(x_hat - x).sum(), rel=0.01)
    blue = np.array(found["difference"]) < 200  # where the reconstruction is too light
    assert blue[(x_hat - x)[0] < -0.4].all()
    assert not blue[(x_hat - x)[0] > 0].any()


def test_a_slider_of_the_code_draws_what_the_decoder_gives(image_page):
    ae, path = image_page
    found = play(
        path,
        "const [first] = document.querySelectorAll('#code input'); slide(first, (+first.min + 3 * first.max) / 4);"
        "found.z = sliders(); found.x_hat = red($('x_hat')); found.dim = $('x').classList.contains('aside');"
        "found.back = !$('encode').disabled; $('encode').click(); found.again = sliders();",
    )
    order = np.argsort(-ae.encode(X).var(axis=0))
    Z = ae.encode(X)
    z = np.empty(2)
    z[order] = found["z"]
    assert z[order[0]] == pytest.approx((Z.min(axis=0) + 3 * Z.max(axis=0))[order[0]] / 4, rel=1e-5)
    np.testing.assert_allclose(found["x_hat"], shades(ae.decode(z[None])[0], X.min(), X.max()), atol=1)
    assert found["dim"]
    assert found["back"]
    np.testing.assert_allclose(found["again"], ae.encode(X[:1])[0][order], atol=1e-5)


@pytest.mark.parametrize("kind", ["mouse", "touch"])
def test_dragging_on_the_map_moves_the_code_and_the_decoder_draws(image_page, kind):
    ae, path = image_page
    found = play(
        path,
        f"const more = {{ pointerType: '{kind}' }};"
        "press('codes', 'pointermove', [0.1, 0.1], more); found.before = sliders();"
        "press('codes', 'pointerdown', [0.2, 0.3], more); press('codes', 'pointermove', [0.5, 0.5], more);"
        "found.z = sliders(); found.x_hat = red($('x_hat')); press('codes', 'pointerup', [0.5, 0.5], more);"
        "press('codes', 'pointermove', [0.9, 0.9], more); found.after = sliders(); key('codes', 'ArrowRight');"
        "found.right = sliders();",
    )
    order = np.argsort(-ae.encode(X).var(axis=0))
    z, right = np.empty(2), np.empty(2)
    z[order], right[order] = found["z"], found["right"]
    np.testing.assert_allclose(found["x_hat"], shades(ae.decode(z[None])[0], X.min(), X.max()), atol=1)
    assert found["before"] != found["z"] == found["after"]
    assert right[0] > z[0]
    assert right[1] == pytest.approx(z[1], abs=1e-9)


def test_drawing_erasing_clearing_and_centring_change_the_image_and_its_code(image_page):
    _, path = image_page
    found = play(
        path,
        "$('clear').click(); found.clear = red($('x')); found.z0 = sliders();"
        "press('x', 'pointerdown', [0.1, 0.5]); press('x', 'pointermove', [0.9, 0.5]); press('x', 'pointerup');"
        "found.line = red($('x')); found.z1 = sliders();"
        "$('erase').click(); press('x', 'pointerdown', [0.1, 0.5]); press('x', 'pointerup');"
        "found.erased = red($('x')); $('erase').click(); $('clear').click();"
        "for (let i = 0; i < 9; i++) key('x', 'ArrowLeft'), key('x', 'ArrowUp');"
        "key('x', ' '); found.dot = red($('x')); $('centre').click(); found.centred = red($('x'));",
    )
    drawn = {name: np.reshape(found[name], (3, 4)) for name in ("clear", "line", "erased", "dot", "centred")}
    assert (drawn["clear"] == PAPER).all()
    assert (drawn["line"][1] == PEN).all()
    assert (drawn["line"][[0, 2]] > PEN).all()
    assert drawn["erased"][1, 0] == PAPER
    assert drawn["erased"][1, 3] == PEN
    assert found["z0"] != found["z1"]
    assert drawn["dot"].argmin() == 0
    assert drawn["centred"].argmin() in (5, 6)


def test_the_film_shows_each_kept_epoch(image_page):
    _, path = image_page
    found = play(
        path,
        "found.names = texts('#film span'); found.now = $('epoch-name').textContent; slide($('epoch'), 0);"
        "found.then = $('epoch-name').textContent; found.x_hat = red($('x_hat'));"
        "found.strip = red(document.querySelector('#film canvas'));",
    )
    then = npae.AE(**QUICK | {"epochs": 1}).fit(X)
    assert found["names"] == ["1", "2", "3"]
    assert found["now"].startswith("3, training loss")
    assert found["then"].startswith("1, training loss")
    np.testing.assert_allclose(found["x_hat"], shades(then.reconstruct(X[:1])[0], X.min(), X.max()), atol=1)
    assert found["strip"] == found["x_hat"]


def test_the_weights_of_a_unit_are_shown_in_blue_and_orange(image_page):
    ae, path = image_page
    found = play(
        path,
        "const box = $('units').getBoundingClientRect(); const at = { clientX: box.left + 3, clientY: box.top + 3 };"
        "found.most = $('unit-name').textContent; for (let i = 0; i < 9; i++) key('units', 'ArrowLeft');"
        "key('units', 'ArrowRight'); key('units', 'ArrowRight'); found.name = $('unit-name').textContent;"
        "found.unit = red($('unit')); $('units').dispatchEvent(new MouseEvent('click', at));"
        "found.clicked = $('unit-name').textContent; $('last').click(); found.last = red($('unit'));"
        "found.most_last = $('unit-name').textContent;",
    )
    hidden = ae.encoder_.layers[0].forward(X[:40])  # the examples
    last = npae.Sequential(*ae.decoder_.layers[:-1]).forward(ae.encode(X[:40]))
    assert found["most"] == f"Unit {hidden.var(axis=0).argmax() + 1} of 9"
    assert found["most_last"] == f"Unit {last.var(axis=0).argmax() + 1} of 9"
    assert found["name"] == "Unit 3 of 9"
    assert found["clicked"] == "Unit 1 of 9"
    for shown, w in (
        (found["unit"], ae.encoder_.layers[0].W.value[:, 2]),
        (found["last"], ae.decoder_.layers[-1].W.value[last.var(axis=0).argmax()]),
    ):
        w = w / np.abs(w).max()
        expected = np.where(w < 0, PAPER * (1 + w), PAPER + (0xD5 - PAPER) * w)  # the red of #0072b2 is 0
        np.testing.assert_allclose(shown, expected, atol=1)


# --- noise, samples, tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [npae.GaussianNoise(0.5), npae.MaskingNoise(0.5), npae.SaltAndPepper(0.5)])
def test_the_noise_slider_of_a_dae_changes_what_the_encoder_sees(noise, tmp_path):
    dae = npae.DAE(**QUICK, corruption=noise).fit(X)
    dae.export(tmp_path / "model.html", X, **IMAGE)
    found = play(
        tmp_path / "model.html",
        "found.level = $('noise').value; found.noisy = red($('noisy')); found.x = red($('x')); $('fresh').click();"
        "found.other = red($('noisy')); slide($('noise'), 0); found.none = red($('noisy'));"
        "found.x_hat = red($('x_hat'));",
    )
    assert float(found["level"]) == 0.5
    assert found["noisy"] != found["x"] == found["none"]
    assert found["other"] != found["noisy"]
    np.testing.assert_allclose(found["x_hat"], shades(dae.reconstruct(X[:1])[0], X.min(), X.max()), atol=1)


def test_a_vae_draws_samples_that_can_be_chosen(tmp_path):
    npae.VAE(**QUICK).fit(X).export(tmp_path / "model.html", X, **IMAGE)
    found = play(
        tmp_path / "model.html",
        "const all = () => [...document.querySelectorAll('#samples canvas')].map(red); found.first = all();"
        "$('draw').click(); found.second = all(); $('samples').children[1].click(); found.x_hat = red($('x_hat'));",
    )
    assert len(found["first"]) == 40
    assert found["first"] != found["second"]
    assert found["x_hat"] == found["second"][1]


TENFOLD = Scaler(10, -2)
ODD = ['</script><img src="x">', "\"quotes\" 'and' \\", "数字 ελληνικά עברית", "<b>&amp;", "a b", "{{script}}"]


def test_a_table_has_sliders_names_units_errors_and_labels_of_any_text(tmp_path):
    table = X[:, :6]
    pca = npae.PCA(2).fit(table)
    labels = np.array(ODD[:3])[Y]
    pca.export(tmp_path / "model.html", table, names=ODD, units=["°C", "", "<i>", "m", "m", "m"], labels=labels,
               scaler=TENFOLD)  # fmt: skip
    found = play(
        tmp_path / "model.html",
        "found.names = texts('#features td:first-child'); found.legend = texts('#legend button');"
        "found.tags = document.querySelectorAll('img, #features i, #legend b').length;"
        "slide(document.querySelector('#features input'), 0.25);"
        "found.spoken = document.querySelector('#features input').ariaValueText;"
        "found.x = texts('#features td:nth-child(3)'); found.x_hat = texts('#features td:nth-child(4)');"
        "found.bars = [...document.querySelectorAll('#features b')].map((bar) => bar.title);"
        "$('legend').firstChild.click(); found.off = $('legend').firstChild.getAttribute('aria-pressed');",
    )
    assert found["names"][:3] == [f"{ODD[0]} °C", ODD[1], f"{ODD[2]} <i>"]
    assert found["legend"] == sorted(ODD[:3])
    assert found["tags"] == 0
    assert found["off"] == "false"
    x = table[1:2].copy()  # the first row of the first label, in the order of the alphabet
    x[0, 0] = 0.25
    x_hat = pca.reconstruct(x)

    def number(texts):
        return [float(text.replace("−", "-")) for text in texts]

    np.testing.assert_allclose(number(found["x"]), TENFOLD.inverse_transform(x[0]), atol=6e-3)
    np.testing.assert_allclose(number(found["x_hat"]), TENFOLD.inverse_transform(x_hat[0]), atol=6e-3)
    assert found["spoken"] == found["x"][0]
    errors = number(title.split()[0] for title in found["bars"])
    np.testing.assert_allclose(errors, ((x_hat - x) / table.std(axis=0))[0], atol=6e-3)


# --- the page as a whole ---------------------------------------------------------------------------------------------


WIDTHS = (400, 700, 1200)


def test_a_page_makes_no_request_and_cannot(image_page):
    _, path = image_page
    found = play(path, "found.requests = performance.getEntriesByType('resource').length;")
    assert found["requests"] == 0
    trying = with_script(path, "fetch('https://example.org').catch(() => 0); console.log('seen');")
    log = browse(trying, "--dump-dom")[1]
    assert "seen" in log  # so the tests above would have seen an error
    assert "Content Security Policy" in log
    text = path.read_text(encoding="utf-8").replace("</body>", "<script>document.title = 'mine'</script></body>")
    trying.write_text(text, encoding="utf-8")
    dom, log = browse(trying, "--dump-dom")
    assert "<title>mine" not in dom
    assert "Content Security Policy" in log


def test_a_page_is_drawn_in_light_and_in_dark_colours(image_page):
    image, (_, path), grounds = pytest.importorskip("matplotlib.image"), image_page, {}
    for scheme, number in (("light", 1), ("dark", 0)):
        picture = path.with_name(f"{scheme}.png")
        options = (f"--blink-settings=preferredColorScheme={number}", "--window-size=1200,900")
        browse(path, f"--screenshot={picture}", *options)
        pixels = image.imread(picture)[..., :3]
        assert pixels.shape == (900, 1200, 3)
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
        grounds[scheme] = pixels[2, 2].mean()
    assert grounds["light"] > 0.9
    assert grounds["dark"] < 0.2
    found = play(path, "$('theme').click(); found.theme = document.documentElement.dataset.theme;")
    assert found["theme"] == "dark"


@pytest.mark.parametrize("kind", ["images", "table"])
def test_nothing_overflows_on_a_narrow_screen(image_page, kind, tmp_path):
    path = image_page[1] if kind == "images" else tmp_path / "table.html"
    if kind == "table":
        npae.DAE(**QUICK).fit(X).export(path, X, names=["a feature with a name that is long"] * 12, labels=Y)
    copy = with_script(path, "parent.postMessage([location.hash, document.documentElement.scrollWidth], '*');")
    frames = [f'<iframe src="{copy.name}#{w}" width="{w}" height="900" frameborder="0"></iframe>' for w in WIDTHS]
    found = together(copy.parent, "".join(frames))
    assert [found[str(width)] <= width for width in WIDTHS] == [True] * len(WIDTHS)
