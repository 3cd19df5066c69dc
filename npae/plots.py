"""Pictures: functions that take data or a fitted model, draw on the Axes you give, and return it.

    fig = plots.figure(8, 4)
    plots.reconstructions(ae, X_test[:10], fig.subplots())
    plots.save(fig, "digits.png")

Only `figure` needs matplotlib to be importable; it makes a figure without a window, so that it works on a
machine that has none. Everything else draws on any Axes. The look is one for all: no frame, small titles, grey
for what is only there to compare, and colours that everyone can tell apart, with words beside them.

Every function raises TypeError or ValueError if an argument is not as it says, and RuntimeError if the model has not
been fitted, before anything is drawn.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npae.autoencoder import AE
from npae.estimator.arguments import as_count, as_image_shape, as_path, as_real
from npae.estimator.validation import as_numbers, as_table
from npae.kernels.arrays import Array, ArrayLike
from npae.layers import Dense, all_layers
from npae.pca import PCA

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "GREY",
    "ORANGE",
    "TEN",
    "code",
    "denoising",
    "figure",
    "filters",
    "history",
    "image_rows",
    "interpolation",
    "latent_grid",
    "latent_scatter",
    "reconstructions",
    "save",
    "spectrogram",
    "style_axes",
]

# Three of the eight colours that everyone can tell apart (Okabe and Ito, 2008, "Color universal design").
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#7F7F7F"
# Ten, for the digits: the nine of the scheme "muted" (Tol, 2021, "Colour schemes", SRON technical note) and black.
TEN = ("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#AA4499", "#999933", "#000000")

_GREYS: dict[str, Any] = {"cmap": "gray_r", "vmin": 0, "vmax": 1, "interpolation": "nearest"}  # white paper, black ink


def figure(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` inches, at most 600 each, at 100 dots an inch.

    Raises ImportError if matplotlib is not installed; the message says how to install it.
    """
    width = as_real(width, "figure", "width", low=0, high=600, without=0)
    height = as_real(height, "figure", "height", low=0, high=600, without=0)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"npae.plots expected matplotlib to be importable, got {error}: "
            'install it with `pip install "npae[plots]"`.'
        ) from error
    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def save(fig: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure to `path`, whose ending says in which format, and say so; a missing folder is made.

    Titles become small, however they were set.
    """
    if not hasattr(fig, "savefig"):
        raise TypeError(
            f"save expected fig as a figure, got {fig!r}: pass what npae.plots.figure(6, 4) returns, for example."
        )
    path = as_path(path, "save")
    formats, ending = sorted(fig.canvas.get_supported_filetypes()), os.path.splitext(path)[1].removeprefix(".")
    if ending.lower() not in formats:
        raise ValueError(f"save expected path to end in one of {formats}, got {path!r}: call it {path}.png, say.")
    for ax in fig.axes:
        ax.title.set_fontsize(10)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path)
    print(f"wrote {path}")


def style_axes(ax: Axes, title: str = "", x: str = "", y: str = "") -> Axes:
    """The look of every plot: a small title, named axes, no frame around."""
    _check_axes(ax, "style_axes")
    ax.set_title(title)
    ax.set_xlabel(x, fontsize=9)
    ax.set_ylabel(y, fontsize=9)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


# --- images in rows ----------------------------------------------------------------------------------------------


def image_rows(rows: Mapping[str, ArrayLike], ax: Axes, image_shape: tuple[int, int] = (28, 28)) -> Axes:
    """Rows of grey images under one another, dark where a value is 1, each row named at its left.

    Parameters
    ----------
    rows : mapping of name to array (n, height · width)
        Values in [0, 1]; what lies outside is drawn as the end it is nearest to.

    Raises ValueError if a row of an array is no image of that shape.
    """
    _check_axes(ax, "image_rows")
    if not isinstance(rows, Mapping):
        raise TypeError(
            f"image_rows expected rows as a mapping of names to images, got {rows!r:.200}: pass {{'original': X}}, say."
        )
    image_shape = as_image_shape(image_shape, "image_rows")
    ax.imshow(_levels(_sheet(list(rows.values()), image_shape)), **_GREYS)
    pitch = image_shape[0] + _gap(image_shape)
    _bare(ax).set_yticks([i * pitch + image_shape[0] / 2 for i in range(len(rows))], list(rows))
    return ax


def reconstructions(model: AE | PCA, X: ArrayLike, ax: Axes, image_shape: tuple[int, int] = (28, 28)) -> Axes:
    """The images in the rows of X, and under each what the model makes of it."""
    _check_axes(ax, "reconstructions")
    _check_model(model, "reconstructions", AE, PCA)
    return image_rows({"original": X, "reconstruction": model.reconstruct(X)}, ax, image_shape)


def denoising(
    model: AE | PCA, X: ArrayLike, X_noisy: ArrayLike, ax: Axes, image_shape: tuple[int, int] = (28, 28)
) -> Axes:
    """Clean images, the same with noise, and what the model makes of the noisy ones."""
    _check_axes(ax, "denoising")
    _check_model(model, "denoising", AE, PCA)
    return image_rows({"clean": X, "noisy": X_noisy, "denoised": model.reconstruct(X_noisy)}, ax, image_shape)


def interpolation(
    model: AE | PCA,
    x_from: ArrayLike,
    x_to: ArrayLike,
    ax: Axes,
    steps: int = 9,
    image_shape: tuple[int, int] = (28, 28),
) -> Axes:
    """A straight walk from one image to another, above between their codes, below between their pixels.

        above   g(z_from + t (z_to - z_from)),    below   x_from + t (x_to - x_from),    t = 0, ..., 1

    Parameters
    ----------
    x_from, x_to : arrays (d,)
    steps : int >= 2
        How many images each row has.
    """
    _check_axes(ax, "interpolation")
    _check_model(model, "interpolation", AE, PCA)
    t = np.linspace(0, 1, as_count(steps, "interpolation", "steps", at_least=2))[:, None]
    start, end = (_row(x, "interpolation", name) for x, name in ((x_from, "x_from"), (x_to, "x_to")))
    z_start, z_end = model.encode(start), model.encode(end)
    rows = {"codes": model.decode(z_start + t * (z_end - z_start)), "pixels": start + t * (end - start)}
    return image_rows(rows, ax, image_shape)


def filters(model: AE, ax: Axes, units: Iterable[int] = range(16), image_shape: tuple[int, int] = (28, 28)) -> Axes:
    """What units of the first layer look for: column j of W as an image, for each j in `units`, in rows of eight.

    Blue where ink excites the unit, red where it silences it, white where it does not care; each image is scaled
    to its own largest weight.

    Raises ValueError if the encoder has no Dense layer, a column is no image of that shape, or there is no such unit.
    """
    _check_axes(ax, "filters")
    _check_model(model, "filters", AE)
    image_shape = as_image_shape(image_shape, "filters")
    dense = next((layer for layer in all_layers(model._learned("encoder_")) if isinstance(layer, Dense)), None)
    if dense is None:
        raise ValueError(
            f"filters expected an encoder with a Dense layer, got {model.encoder_!r}: plot something else."
        )
    if not isinstance(units, Iterable):
        raise TypeError(f"filters expected units as whole numbers, got {units!r}: pass range(16), for example.")
    wanted = [as_count(unit, "filters", "each of units", at_least=0) for unit in units]
    if max(wanted, default=0) >= dense.W.value.shape[1]:
        raise ValueError(
            f"filters expected units below {dense.W.value.shape[1]}, which the first layer has, got {max(wanted)}: "
            "choose smaller numbers."
        )
    columns = dense.W.value.T[wanted]
    columns = columns / np.abs(columns).max(axis=1, keepdims=True).clip(1e-30)
    rows = [columns[i : i + 8] for i in range(0, len(columns), 8)]
    ax.imshow(_levels(_sheet(rows, image_shape)), cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest")
    return _bare(ax)


# --- codes -------------------------------------------------------------------------------------------------------


def code(z: Sequence[float] | Array, ax: Axes) -> Axes:
    """The numbers of one code z (k,) as bars: blue upwards, orange downwards."""
    _check_axes(ax, "code")
    values = _row(z, "code", "z")[0]
    ax.bar(np.arange(len(values)), values, width=0.8, color=[BLUE if v > 0 else ORANGE for v in values])
    _bare(ax).axhline(0, color=GREY, linewidth=0.8)
    ax.margins(x=0.02)
    return ax


def latent_scatter(model: AE | PCA, X: ArrayLike, labels: ArrayLike, ax: Axes) -> Axes:
    """The rows of X as points where their codes are, coloured by label, each label written amid its points.

    A code of more than two numbers is drawn by its first two.

    Parameters
    ----------
    labels : array (n,)
        One for each row, of at most ten kinds.

    Raises ValueError if the codes have one number only, or labels do not fit.
    """
    _check_axes(ax, "latent_scatter")
    _check_model(model, "latent_scatter", AE, PCA)
    try:
        names = np.asarray(labels)
        kinds = np.unique(names)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"latent_scatter expected labels of one kind, numbers or text, got {type(labels).__name__} ({error}): "
            "pass one label for each row of X."
        ) from error
    if names.dtype.kind == "f" and np.isnan(names).any():
        raise ValueError("latent_scatter expected a label for each row, got NaN for some: leave these rows out.")
    Z = model.encode(X)
    if Z.shape[1] < 2:
        raise ValueError(f"latent_scatter expected codes of two numbers, got {Z.shape[1]}: draw a histogram of them.")
    if names.shape != (len(Z),) or len(kinds) > len(TEN):
        raise ValueError(
            f"latent_scatter expected labels of shape ({len(Z)},) and at most {len(TEN)} kinds, got {names.shape} "
            f"and {len(kinds)}: pass one label for each row of X."
        )
    placed, spread = np.empty((0, 2)), np.ptp(Z[:, :2], axis=0).astype(float)
    size = 0.05 * np.where(spread > 0, spread, 1)  # about that of a label
    for kind, colour in zip(kinds, TEN, strict=False):
        z = Z[names == kind, :2]
        ax.scatter(z[:, 0], z[:, 1], s=4, color=colour, linewidths=0)
        place = np.median(z, axis=0).astype(float)
        for _ in placed:
            if (np.abs(placed - place) < size).all(axis=1).any():  # another label stands there
                place[0] += size[0]
        placed = np.vstack([placed, place])
        white = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": colour, "alpha": 0.85}
        ax.text(place[0], place[1], str(kind), fontsize=9, ha="center", va="center", bbox=white)
    return style_axes(ax, x="$z_1$", y="$z_2$")


def latent_grid(model: AE | PCA, X: ArrayLike, ax: Axes, n: int = 16, image_shape: tuple[int, int] = (28, 28)) -> Axes:
    """What the decoder makes of an n x n grid of codes, each image where its code lies on the plane.

    The grid spans the codes of X but for the outer one per cent at each side.

    Raises ValueError if the code has not two numbers.
    """
    _check_axes(ax, "latent_grid")
    _check_model(model, "latent_grid", AE, PCA)
    n, image_shape = as_count(n, "latent_grid", "n"), as_image_shape(image_shape, "latent_grid")
    Z = model.encode(X)
    if Z.shape[1] != 2:
        raise ValueError(f"latent_grid expected a code of two numbers, got {Z.shape[1]}: fit with latent_dim=2.")
    (left, bottom), (right, top) = np.percentile(Z, [1, 99], axis=0)
    z1, z2 = np.meshgrid(np.linspace(left, right, n), np.linspace(top, bottom, n))  # the first row is the highest
    images = model.decode(np.stack([z1.ravel(), z2.ravel()], axis=1))
    dx, dy = ((span or 1.0) / 2 / max(1, n - 1) for span in (right - left, top - bottom))  # from an image's centre
    sheet = _levels(_sheet(list(images.reshape(n, n, -1)), image_shape, gap=0))
    ax.imshow(sheet, extent=(left - dx, right + dx, bottom - dy, top + dy), aspect="auto", **_GREYS)
    return style_axes(ax, x="$z_1$", y="$z_2$")


# --- training ----------------------------------------------------------------------------------------------------


def history(model: AE, ax: Axes) -> Axes:
    """The loss after each epoch, on training and, where there were any, on validation data."""
    _check_axes(ax, "history")
    _check_model(model, "history", AE)
    h = model._learned("history_")
    epochs = np.arange(1, len(h.loss) + 1)
    ax.plot(epochs, h.loss, color=BLUE, label="training")
    if h.validation_loss:
        ax.plot(epochs, h.validation_loss, "--", color=ORANGE, label="validation")
        ax.legend(frameon=False, fontsize=8)
    return style_axes(ax, x="epoch", y=f"{type(model.loss_).__name__} per element")


# --- sound -------------------------------------------------------------------------------------------------------


def spectrogram(x: ArrayLike, ax: Axes, rate: float = 8000) -> Axes:
    """The strengths of a sound's frequencies as time passes: the next darker shade is half as strong, 6 dB less.

    Parameters
    ----------
    x : array (n,)
        The waveform, n >= 1.
    rate : float in (0, 1e6]
        Its samples a second, in Hz. Each column is the spectrum of 32 ms under a Hann window, every 8 ms.
        Black is 60 dB below the loudest, and all that is weaker.
    """
    _check_axes(ax, "spectrogram")
    rate = as_real(rate, "spectrogram", "rate", low=0, high=1e6, without=0)
    wave = _row(x, "spectrogram", "x")[0]
    hop = max(1, round(0.008 * rate))
    size, columns = 4 * hop, -(-len(wave) // hop)
    padded = np.zeros((columns - 1) * hop + size)
    padded[size // 2 - hop // 2 :][: len(wave)] = wave  # column i is what is heard around its middle
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    strengths = np.abs(np.fft.rfft(pieces * np.hanning(size + 1)[:-1])).T
    loudest = strengths.max() or 1.0
    decibels = 6 * np.round(20 / 6 * np.log10(np.maximum(strengths / loudest, 1e-3)))  # few shades, a small file
    extent = (0, columns * hop / rate, 0, rate / 2000)
    ax.imshow(
        decibels, "magma", vmin=-60, vmax=0, origin="lower", aspect="auto", interpolation="nearest", extent=extent
    )
    return style_axes(ax, x="time (s)", y="frequency (kHz)")


# --- how they are made -------------------------------------------------------------------------------------------


def _check_axes(ax: Any, caller: str) -> None:
    if not (hasattr(ax, "imshow") and hasattr(ax, "spines")):
        raise TypeError(
            f"{caller} expected ax as matplotlib Axes, got {ax!r:.200}: pass npae.plots.figure(6, 4).subplots(), say."
        )


def _check_model(model: Any, caller: str, *kinds: type) -> None:
    if not isinstance(model, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{caller} expected model as a fitted {names}, got {model!r:.200}: pass one.")


def _row(x: ArrayLike, caller: str, name: str) -> Array:
    """x (k,) as a table of one row."""
    return as_table(as_numbers(x, caller, name)[None], caller, name=f"{name}[None]")


def _sheet(rows: Sequence[ArrayLike], image_shape: tuple[int, int], gap: int | None = None) -> Array:
    """One large image with all the small ones on it, row by row, `gap` pixels of paper between them."""
    height, width = image_shape
    if not rows:
        raise ValueError("image_rows expected at least one row of images, got none: pass some.")
    tables = [as_table(images, "image_rows", name="images", width=height * width) for images in rows]
    gap = _gap(image_shape) if gap is None else gap
    n = max(map(len, tables))
    sheet = np.zeros((len(tables) * (height + gap) - gap, n * (width + gap) - gap))
    for i, images in enumerate(tables):
        for j, image in enumerate(images):
            top, left = i * (height + gap), j * (width + gap)
            sheet[top : top + height, left : left + width] = image.reshape(height, width)
    return sheet


def _levels(sheet: Array) -> Array:
    """Values to the nearest sixteenth: small images need no more, and the files are half as large."""
    return np.round(sheet * 16) / 16


def _gap(image_shape: tuple[int, int]) -> int:
    return max(1, image_shape[0] // 14)


def _bare(ax: Axes) -> Axes:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax
