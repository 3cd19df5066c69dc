"""Every plot draws what it says on the axes it is given, returns it, and refuses what it cannot draw."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nonsense import FITTED, NO_PATH, no_choice, no_count, no_real, no_row, no_table, refuses_nonsense
from nonsense import X as TABLE

import npae

pytest.importorskip("matplotlib")
from npae import plots

X = np.random.default_rng(0).random((12, 20))
LABELS = np.arange(12) % 3
SHAPE = (4, 5)


@pytest.fixture
def ax():
    return plots.figure(4, 3).subplots()


@pytest.fixture(scope="module", params=[npae.AE, npae.VAE], ids=lambda kind: kind.__name__)
def ae(request):
    return request.param(hidden=(5,), latent_dim=2, epochs=2, random_state=0).fit(X, validation=X)


def shown(ax):
    """The picture on the axes: what `imshow` was given."""
    return np.asarray(ax.images[0].get_array())


def sixteenths(x):
    return np.round(x * 16) / 16


def test_rows_of_images_stand_under_one_another_with_their_names(ax):
    assert plots.image_rows({"one": X[:3], "two": X[3:5]}, ax, SHAPE) is ax
    assert shown(ax).shape == (2 * 4 + 1, 3 * 5 + 2)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["one", "two"]
    np.testing.assert_allclose(shown(ax)[5:, 6:11], sixteenths(X[4].reshape(SHAPE)))
    assert (shown(ax)[:, 5] == 0).all()  # paper between
    assert ax.images[0].to_rgba(0.0)[:3] == (1, 1, 1)  # 0 is white, 1 is black
    assert ax.images[0].to_rgba(1.0)[:3] == (0, 0, 0)


@pytest.mark.parametrize(("width", "side"), [(1, 1), (64, 8), (784, 28)])
def test_without_a_shape_rows_are_square_images(width, side):
    images, (a, b) = np.random.default_rng(1).random((3, width)), plots.figure(4, 6).subplots(2)
    plots.image_rows({"one": images, "two": images}, a)
    plots.image_rows({"one": images, "two": images}, b, (side, side))
    np.testing.assert_array_equal(shown(a), shown(b))
    np.testing.assert_array_equal(shown(a)[:side, :side], sixteenths(images[0].reshape(side, side)))


def test_reconstructions_and_denoising_show_what_the_model_makes_of_images(ae):
    a, b = plots.figure(4, 6).subplots(2)
    assert plots.reconstructions(ae, X[:4], a, SHAPE) is a
    np.testing.assert_allclose(shown(a)[5:, :5], sixteenths(ae.reconstruct(X[:1]).reshape(SHAPE)))
    assert plots.denoising(ae, X[:4], X[4:8], b, SHAPE) is b
    assert [t.get_text() for t in b.get_yticklabels()] == ["clean", "noisy", "denoised"]
    np.testing.assert_allclose(shown(b)[5:9, :5], sixteenths(X[4].reshape(SHAPE)))
    np.testing.assert_allclose(shown(b)[10:, :5], sixteenths(ae.reconstruct(X[4:5]).reshape(SHAPE)))


def test_an_interpolation_walks_between_codes_above_and_between_pixels_below(ae, ax):
    assert plots.interpolation(ae, X[0], X[1], ax, steps=3, image_shape=SHAPE) is ax
    middle = ae.decode(ae.encode(X[:2]).mean(axis=0, keepdims=True)).reshape(SHAPE)
    np.testing.assert_allclose(shown(ax)[:4, :5], sixteenths(ae.reconstruct(X[:1]).reshape(SHAPE)), atol=1e-6)
    np.testing.assert_allclose(shown(ax)[:4, 6:11], sixteenths(middle), atol=1e-6)
    np.testing.assert_allclose(shown(ax)[5:, :5], sixteenths(X[0].reshape(SHAPE)))
    np.testing.assert_allclose(shown(ax)[5:, 6:11], sixteenths((X[0] + X[1]).reshape(SHAPE) / 2), atol=0.0626)
    np.testing.assert_allclose(shown(ax)[5:, 12:], sixteenths(X[1].reshape(SHAPE)))


def test_filters_are_the_columns_of_the_first_layers_weights(ae, ax):
    assert plots.filters(ae, ax, units=[3, 0], image_shape=SHAPE) is ax
    W = ae.encoder_.layers[0].W.value
    for place, unit in ((slice(0, 5), 3), (slice(6, 11), 0)):
        w = W[:, unit].reshape(SHAPE)
        np.testing.assert_allclose(shown(ax)[:, place], sixteenths(w / np.abs(w).max()))


def test_a_code_is_drawn_as_bars(ax):
    z = [1.0, -2.0, 0.5]
    assert plots.code(z, ax) is ax
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], z)


def test_a_scatter_puts_every_row_where_its_code_is_and_names_each_label(ae, ax):
    assert plots.latent_scatter(ae, X, LABELS, ax) is ax
    for kind, points in enumerate(ax.collections):
        np.testing.assert_allclose(points.get_offsets(), ae.encode(X)[kind::3])
    assert [t.get_text() for t in ax.texts] == ["0", "1", "2"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$z_1$", "$z_2$")


def test_labels_that_would_cover_one_another_stand_side_by_side(ax):
    pca = npae.PCA(2).fit(X)
    plots.latent_scatter(pca, np.repeat(X[:4], 3, axis=0), np.tile([7, 8, 9], 4), ax)  # three kinds in the same places
    assert len({text.get_position() for text in ax.texts}) == 3


def test_a_grid_decodes_each_place_of_the_plane(ae, ax):
    assert plots.latent_grid(ae, X, ax, n=3, image_shape=SHAPE) is ax
    assert shown(ax).shape == (12, 15)
    left, top = np.percentile(ae.encode(X)[:, 0], 1), np.percentile(ae.encode(X)[:, 1], 99)
    corner = ae.decode([[left, top]]).reshape(SHAPE)
    np.testing.assert_allclose(shown(ax)[:4, :5], sixteenths(corner), atol=1e-6)
    x0, x1, y0, y1 = ax.images[0].get_extent()
    assert (x0 + (x1 - x0) / 6, y1 - (y1 - y0) / 6) == pytest.approx((left, top))  # the image's centre is its place


def test_codes_that_are_all_the_same_are_drawn_as_well(ae):
    a, b = plots.figure(4, 6).subplots(2)
    plots.latent_scatter(ae, np.ones((12, 20)), LABELS, a)
    assert len({text.get_position() for text in a.texts}) == 3
    plots.latent_grid(ae, np.ones((12, 20)), b, n=2, image_shape=SHAPE)
    x0, x1, y0, y1 = b.images[0].get_extent()
    assert x0 < x1
    assert y0 < y1


def test_a_history_shows_both_losses(ae, ax):
    assert plots.history(ae, ax) is ax
    np.testing.assert_allclose(ax.lines[0].get_ydata(), ae.history_.loss)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), ae.history_.validation_loss)
    assert ax.get_ylabel() == ("MSE per element" if type(ae) is npae.AE else "Gaussian in nats per row")


def test_a_click_stands_in_the_spectrogram_at_its_time(ax):
    x = np.zeros(8000)
    x[4000] = 1.0
    plots.spectrogram(x, ax)
    loud = np.flatnonzero((shown(ax) > -30).all(axis=0))
    assert (loud.mean() + 0.5) * 0.008 == pytest.approx(0.5, abs=0.005)


def test_a_spectrogram_shows_which_tone_sounds_when():
    t = np.arange(8000) / 16_000
    x = np.concatenate([np.sin(2 * np.pi * 1000 * t), 0.1 * np.sin(2 * np.pi * 6000 * t)])
    fig = plots.figure(4, 4)
    a, b, c = fig.subplots(3)
    assert plots.spectrogram(x, a, rate=16_000) is a
    assert (a.get_xlabel(), a.get_ylabel()) == ("time (s)", "frequency (kHz)")
    decibels = np.asarray(a.images[0].get_array())
    left, right, bottom, top = a.images[0].get_extent()
    assert (left, right, bottom, top) == (0, 1, 0, 8)
    assert a.images[0].origin == "lower"
    rows, columns = decibels.shape
    for second, kilohertz, strength in ((0.25, 1, 0), (0.75, 6, -18)):  # -20 dB, in steps of 6
        column = decibels[:, int(second * columns)]
        assert abs(column.argmax() / (rows - 1) * top - kilohertz) < 0.04
        assert column.max() == strength
        assert np.median(column) == -60
    assert plots.spectrogram(np.zeros(10), b) is b  # silence, shorter than a window
    assert np.asarray(b.images[0].get_array()).max() <= 0
    plots.spectrogram(x, c)
    assert c.images[0].get_extent() == [0, 2, 0, 4]  # twice as long at 8000 Hz


def test_a_picture_is_written_where_it_should_be(ax, tmp_path, capsys):
    path = tmp_path / "new" / "folder" / "picture.png"
    plots.save(plots.style_axes(ax, "title", "x", "y").figure, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"wrote {path}\n"
    assert ax.title.get_fontsize() == 10


REFUSED = {
    "images of another shape": (
        lambda ae, ax: plots.image_rows({"a": X}, ax, (3, 5)), ValueError, "image_shape of 20 pixels, got (3, 5)"
    ),
    "rows that are not square": (
        lambda ae, ax: plots.image_rows({"a": X}, ax), ValueError, "image_shape of 20 pixels, got None"
    ),
    "reconstructions that are not square": (
        lambda ae, ax: plots.reconstructions(ae, X, ax), ValueError, "image_shape of 20 pixels, got None"
    ),
    "filters that are not square": (
        lambda ae, ax: plots.filters(ae, ax, [0]), ValueError, "image_shape of 20 pixels, got None"
    ),
    "a grid that is not square": (
        lambda ae, ax: plots.latent_grid(ae, X, ax), ValueError, "image_shape of 20 pixels, got None"
    ),
    "rows of two widths": (lambda ae, ax: plots.image_rows({"a": X, "b": X[:, :4]}, ax, SHAPE), ValueError, "(n, 20)"),
    "a code of one number, scattered": (
        lambda ae, ax: plots.latent_scatter(npae.PCA(1).fit(X), X, LABELS, ax), ValueError, "two numbers, got 1"
    ),
    "too few labels": (lambda ae, ax: plots.latent_scatter(ae, X, LABELS[:5], ax), ValueError, "shape (12,)"),
    "too many kinds": (lambda ae, ax: plots.latent_scatter(ae, X, range(12), ax), ValueError, "at most 10"),
    "a grid of three numbers": (
        lambda ae, ax: plots.latent_grid(npae.PCA(3).fit(X), X, ax, 3, SHAPE), ValueError, "two numbers, got 3"
    ),
    "a walk of one step": (lambda ae, ax: plots.interpolation(ae, X[0], X[1], ax, 1), ValueError, "steps"),
    "a walk between tables": (lambda ae, ax: plots.interpolation(ae, X, X, ax), ValueError, "shape"),
    "a walk to a shorter row": (lambda ae, ax: plots.interpolation(ae, X[0], X[0, :9], ax), ValueError, "(n, 20)"),
    "a walk of no model": (lambda ae, ax: plots.interpolation(npae.AE(), X[0], X[1], ax), RuntimeError, "fit"),
    "no rows of images": (lambda ae, ax: plots.image_rows({}, ax), ValueError, "at least one"),
    "a history of no fit": (lambda ae, ax: plots.history(npae.AE(), ax), RuntimeError, "fit"),
    "a code of NaN": (lambda ae, ax: plots.code([1.0, np.nan], ax), ValueError, "finite"),
    "a sound of no rate": (lambda ae, ax: plots.spectrogram(X[0], ax, 0), ValueError, "rate"),
    "a sound of two rows": (lambda ae, ax: plots.spectrogram(X, ax), ValueError, "shape"),
    "filters of no fit": (lambda ae, ax: plots.filters(npae.AE(), ax), RuntimeError, "fit"),
    "a unit that is not there": (lambda ae, ax: plots.filters(ae, ax, [99], SHAPE), ValueError, "units below 5"),
    "the unit before the first": (lambda ae, ax: plots.filters(ae, ax, [-1], SHAPE), ValueError, "got -1"),
    "filters of no network": (
        lambda ae, ax: plots.filters(npae.PCA(2).fit(X), ax), TypeError, "a fitted Autoencoder, got PCA"),
    "labels of two kinds": (lambda ae, ax: plots.latent_scatter(ae, X, [None, 1] * 6, ax), TypeError, "one kind"),
    "a label of NaN": (lambda ae, ax: plots.latent_scatter(ae, X, [np.nan, 1] * 6, ax), ValueError, "got NaN"),
    "labels of unequal length": (
        lambda ae, ax: plots.latent_scatter(ae, X, [[1], [1, 2]] * 6, ax), TypeError, "one kind"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_drawn_is_refused(case, ae, ax):
    call, error, piece = REFUSED[case]
    with pytest.raises(error) as caught:
        call(ae, ax)
    assert piece in str(caught.value)
    assert not ax.images
    assert not ax.collections


# --- nonsense, drawn at random -------------------------------------------------------------------------------

FIGURE = plots.figure(4, 3)
AX, AE = FIGURE.subplots(), FITTED["AE"]
DRAW = {
    "image_rows": lambda ax=AX, rows={"a": TABLE}, shape=(2, 3): plots.image_rows(rows, ax, shape),
    "reconstructions": lambda ax=AX, model=AE, X=TABLE, shape=(2, 3): plots.reconstructions(model, X, ax, shape),
    "denoising": lambda ax=AX, model=AE, X=TABLE, noisy=TABLE, shape=(2, 3): plots.denoising(
        model, X, noisy, ax, shape
    ),
    "interpolation": lambda ax=AX, model=AE, a=TABLE[0], b=TABLE[1], steps=9, shape=(2, 3): plots.interpolation(
        model, a, b, ax, steps, shape
    ),
    "filters": lambda ax=AX, model=AE, units=(0,), shape=(2, 3): plots.filters(model, ax, units, shape),
    "code": lambda ax=AX, z=(1.0,): plots.code(z, ax),
    "latent_scatter": lambda ax=AX, model=AE, X=TABLE, labels=[0, 1] * 6: plots.latent_scatter(model, X, labels, ax),
    "latent_grid": lambda ax=AX, model=AE, X=TABLE, n=3, shape=(2, 3): plots.latent_grid(model, X, ax, n, shape),
    "history": lambda ax=AX, model=AE: plots.history(model, ax),
    "spectrogram": lambda ax=AX, x=TABLE[0], rate=8000: plots.spectrogram(x, ax, rate),
    "style_axes": lambda ax=AX: plots.style_axes(ax),
    "figure": lambda width=4, height=3: plots.figure(width, height),
    "save": lambda fig=FIGURE, path="never-written.png": plots.save(fig, path),
}
WRONG = {
    "ax": no_choice(), "model": no_choice(), "X": no_table(6), "noisy": no_table(6), "shape": no_choice(),
    "a": no_row(6), "b": no_row(6), "steps": no_count(2), "n": no_count(), "rate": no_real(0, ends=True),
    "rows": no_table().filter(lambda v: not isinstance(v, dict)) | no_table(6).map(lambda v: {"a": v}),
    "units": no_count(0).filter(lambda v: not isinstance(v, list | tuple | set | dict | np.ndarray | str | bytes))
    | st.lists(no_count(0) | st.integers(5), min_size=1, max_size=2) | st.just(()),
    "z": no_row(), "x": no_row(),
    "labels": no_table(6), "width": no_real(0, ends=True), "height": no_real(0, ends=True),
    "fig": no_choice(), "path": NO_PATH | st.sampled_from(["picture", "picture.npz", ""]),
}  # fmt: skip
CALLS = {
    f"plots.{name}({argument}=)": (lambda v, draw=draw, argument=argument: draw(**{argument: v}), WRONG[argument])
    for name, draw in DRAW.items()
    for argument in inspect.signature(draw).parameters
}


@pytest.mark.parametrize("name", [name for name in DRAW if name != "save"])
def test_without_nonsense_it_is_drawn(name):
    assert DRAW[name]() is AX or name == "figure"
    AX.clear()


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=settings().max_examples // 2)  # there are many calls
@given(data=st.data())
def test_nonsense_is_refused_in_three_parts_and_draws_nothing(name, data):
    call, nonsense = CALLS[name]
    before = len(AX.get_children())
    refuses_nonsense(call, data.draw(nonsense))
    assert len(AX.get_children()) == before
