"""Pictures: functions that take data or a fitted model, draw on the given Axes, and return them.

    fig = plots.figure(8, 4)
    plots.reconstructions(ae, X_test[:10], fig.subplots())
    plots.save(fig, "digits.png")

Only `figure` imports matplotlib, without a window, so it works on a machine without a display. The other functions draw
on any Axes. All plots share one style: no frame, small titles, grey for references, and colours that people with any
colour vision can tell apart.

An `image_shape` is (height, width) in pixels; None means square images, such as 28 x 28 for rows of 784.

Every function checks its arguments before it draws: TypeError or ValueError for a bad argument, RuntimeError for a
model that has not been fitted.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npae.autoencoder import Autoencoder
from npae.estimator.arguments import as_count, as_image_shape, as_path, as_real
from npae.estimator.validation import as_numbers, as_table
from npae.kernels.arrays import Array, ArrayLike
from npae.layers import Dense, all_layers
from npae.pca import PCA

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Three of the eight colours of Okabe and Ito, 2008, "Color universal design".
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#7F7F7F"
# Ten, for the digits: the nine of the scheme "muted" (Tol, 2021, "Colour schemes", SRON technical note) and black.
TEN = ("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#AA4499", "#999933", "#000000")

_GREYS: dict[str, Any] = {"cmap": "gray_r", "vmin": 0, "vmax": 1, "interpolation": "nearest"}  # 0 white, 1 black

ImageShape = tuple[int, int] | None


def figure(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` inches, at most 600 each, at 100 dots an inch.

    Raises ImportError if matplotlib is not installed.
    """
    width = as_real(width, "figure", "width", low=0, high=600, without=0)
    height = as_real(height, "figure", "height", low=0, high=600, without=0)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f'npae.plots expected matplotlib, got {error}: run `pip install "npae[plots]"`.') from error
    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def save(fig: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure to `path` in the format of its ending, and print the path.

    A missing folder is created. Titles are set in 10 points.
    """
    if not hasattr(fig, "savefig"):
        raise TypeError(f"save expected fig as a figure, got {fig!r}: pass npae.plots.figure(6, 4), for example.")
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
    """Set the common style: a title, labelled axes, no frame at the top and the right."""
    _check("style_axes", ax)
    ax.set_title(title)
    ax.set_xlabel(x, fontsize=9)
    ax.set_ylabel(y, fontsize=9)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


# --- images in rows ----------------------------------------------------------------------------------------------


def image_rows(rows: Mapping[str, ArrayLike], ax: Axes, image_shape: ImageShape = None) -> Axes:
    """Rows of grey images below one another, each row named at its left; 0 is white, 1 is black.

    Parameters
    ----------
    rows : mapping of name to array (n, height · width)
        Values are clipped to [0, 1].
    """
    _check("image_rows", ax)
    if not isinstance(rows, Mapping):
        raise TypeError(f"image_rows expected rows as a mapping, got {rows!r:.200}: pass {{'original': X}}, say.")
    sheet, height, gap = _sheet(list(rows.values()), image_shape, "image_rows")
    ax.imshow(sheet, **_GREYS)
    _bare(ax).set_yticks([i * (height + gap) + height / 2 for i in range(len(rows))], list(rows))
    return ax


def reconstructions(model: Autoencoder | PCA, X: ArrayLike, ax: Axes, image_shape: ImageShape = None) -> Axes:
    """The images in the rows of X (n, d), and their reconstructions."""
    _check("reconstructions", ax, model, Autoencoder, PCA)
    return image_rows({"original": X, "reconstruction": model.reconstruct(X)}, ax, image_shape)


def denoising(
    model: Autoencoder | PCA, X: ArrayLike, X_noisy: ArrayLike, ax: Axes, image_shape: ImageShape = None
) -> Axes:
    """Clean images (n, d), noisy ones (n, d), and the reconstructions of the noisy ones."""
    _check("denoising", ax, model, Autoencoder, PCA)
    return image_rows({"clean": X, "noisy": X_noisy, "denoised": model.reconstruct(X_noisy)}, ax, image_shape)


def interpolation(
    model: Autoencoder | PCA,
    x_from: ArrayLike,
    x_to: ArrayLike,
    ax: Axes,
    steps: int = 9,
    image_shape: ImageShape = None,
) -> Axes:
    """A straight line from one image to another, between their codes (above) and between their pixels (below).

        above   g(z_from + t (z_to - z_from)),    below   x_from + t (x_to - x_from),    t = 0, ..., 1

    Parameters
    ----------
    x_from, x_to : arrays (d,)
    steps : int >= 2
        The number of images in each row.
    """
    _check("interpolation", ax, model, Autoencoder, PCA)
    t = np.linspace(0, 1, as_count(steps, "interpolation", "steps", at_least=2))[:, None]
    start, end = (_row(x, "interpolation", name) for x, name in ((x_from, "x_from"), (x_to, "x_to")))
    z_start, z_end = model.encode(start), model.encode(end)
    rows = {"codes": model.decode(z_start + t * (z_end - z_start)), "pixels": start + t * (end - start)}
    return image_rows(rows, ax, image_shape)


def filters(model: Autoencoder, ax: Axes, units: Iterable[int] = range(16), image_shape: ImageShape = None) -> Axes:
    """The weights of units of the first layer: column j of W as an image, for each j in `units`, in rows of eight.

    A pixel is blue where its weight is positive, red where it is negative, white where it is 0. Each image is scaled to
    its largest weight.

    Raises ValueError if the encoder has no Dense layer or no such unit.
    """
    _check("filters", ax, model, Autoencoder)
    dense = next((layer for layer in all_layers(model._learned("encoder_")) if isinstance(layer, Dense)), None)
    if dense is None:
        raise ValueError(f"filters expected an encoder with a Dense layer, got {model.encoder_!r}: pass another model.")
    if not isinstance(units, Iterable):
        raise TypeError(f"filters expected units as whole numbers, got {units!r}: pass range(16), for example.")
    units, width = [as_count(unit, "filters", "each of units", at_least=0) for unit in units], dense.W.value.shape[1]
    if max(units, default=0) >= width:
        raise ValueError(f"filters expected units below {width}, the layer's width, got {max(units)}: choose others.")
    columns = dense.W.value.T[units]
    columns = columns / np.abs(columns).max(axis=1, keepdims=True).clip(1e-30)
    sheet, *_ = _sheet([columns[i : i + 8] for i in range(0, len(columns), 8)], image_shape, "filters")
    ax.imshow(sheet, cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest")
    return _bare(ax)


# --- codes -------------------------------------------------------------------------------------------------------


def code(z: Sequence[float] | Array, ax: Axes) -> Axes:
    """The numbers of one code z (k,) as bars: blue where positive, orange where negative."""
    _check("code", ax)
    values = _row(z, "code", "z")[0]
    ax.bar(np.arange(len(values)), values, width=0.8, color=[BLUE if v > 0 else ORANGE for v in values])
    _bare(ax).axhline(0, color=GREY, linewidth=0.8)
    ax.margins(x=0.02)
    return ax


def latent_scatter(model: Autoencoder | PCA, X: ArrayLike, labels: ArrayLike, ax: Axes) -> Axes:
    """The codes of the rows of X (n, d) as points, coloured by label, with each label at the median of its points.

    Parameters
    ----------
    labels : array (n,)
        At most ten different labels. Only the first two numbers of a code are drawn.

    Raises ValueError if the codes have a single number or the labels do not fit.
    """
    _check("latent_scatter", ax, model, Autoencoder, PCA)
    try:
        names = np.asarray(labels)
        kinds = np.unique(names)
    except (TypeError, ValueError) as error:
        raise TypeError(f"latent_scatter expected labels of one kind, got {error}: pass numbers or text.") from error
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
            if (np.abs(placed - place) < size).all(axis=1).any():  # move to the right of another label
                place[0] += size[0]
        placed = np.vstack([placed, place])
        white = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": colour, "alpha": 0.85}
        ax.text(place[0], place[1], str(kind), fontsize=9, ha="center", va="center", bbox=white)
    return style_axes(ax, x="$z_1$", y="$z_2$")


def latent_grid(model: Autoencoder | PCA, X: ArrayLike, ax: Axes, n: int = 16, image_shape: ImageShape = None) -> Axes:
    """The decoded images of an n x n grid of codes, each centred at its code.

    The grid spans the codes of X (m, d) from the 1st to the 99th percentile.

    Raises ValueError if a code does not have two numbers.
    """
    _check("latent_grid", ax, model, Autoencoder, PCA)
    n = as_count(n, "latent_grid", "n")
    Z = model.encode(X)
    if Z.shape[1] != 2:
        raise ValueError(f"latent_grid expected a code of two numbers, got {Z.shape[1]}: fit with latent_dim=2.")
    (left, bottom), (right, top) = np.percentile(Z, [1, 99], axis=0)
    z1, z2 = np.meshgrid(np.linspace(left, right, n), np.linspace(top, bottom, n))  # the first row is the highest
    images = model.decode(np.stack([z1.ravel(), z2.ravel()], axis=1))
    sheet, *_ = _sheet(list(images.reshape(n, n, -1)), image_shape, "latent_grid", gap=0)
    dx, dy = ((span or 1.0) / 2 / max(1, n - 1) for span in (right - left, top - bottom))  # from an image's centre
    ax.imshow(sheet, extent=(left - dx, right + dx, bottom - dy, top + dy), aspect="auto", **_GREYS)
    return style_axes(ax, x="$z_1$", y="$z_2$")


# --- training and sound ------------------------------------------------------------------------------------------


def history(model: Autoencoder, ax: Axes) -> Axes:
    """The training loss after each epoch, and the validation loss where there is one."""
    _check("history", ax, model, Autoencoder)
    h = model._learned("history_")
    epochs = np.arange(1, len(h.loss) + 1)
    ax.plot(epochs, h.loss, color=BLUE, label="training")
    if h.validation_loss:
        ax.plot(epochs, h.validation_loss, "--", color=ORANGE, label="validation")
        ax.legend(frameon=False, fontsize=8)
    return style_axes(ax, x="epoch", y=f"{type(model.loss_).__name__} {model.loss_.unit}")


def spectrogram(x: ArrayLike, ax: Axes, rate: float = 8000) -> Axes:
    """The magnitudes of the short-time Fourier transform of a sound, in steps of 6 dB (a factor of two).

    Parameters
    ----------
    x : array (n,)
        The waveform, n >= 1.
    rate : float in (0, 1e6]
        Samples a second, in Hz. Each column is the spectrum of 32 ms under a Hann window, every 8 ms. Black is 60 dB
        below the loudest and less.
    """
    _check("spectrogram", ax)
    rate = as_real(rate, "spectrogram", "rate", low=0, high=1e6, without=0)
    wave = _row(x, "spectrogram", "x")[0]
    hop = max(1, round(0.008 * rate))
    size, columns = 4 * hop, -(-len(wave) // hop)
    padded = np.zeros((columns - 1) * hop + size)
    padded[size // 2 - hop // 2 :][: len(wave)] = wave  # centres column i on its 8 ms
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    magnitudes = np.abs(np.fft.rfft(frames * np.hanning(size + 1)[:-1])).T
    loudest = magnitudes.max() or 1.0
    decibels = 6 * np.round(20 / 6 * np.log10(np.maximum(magnitudes / loudest, 1e-3)))  # few shades, a small file
    style: dict[str, Any] = {"cmap": "magma", "vmin": -60, "vmax": 0, "interpolation": "nearest", "aspect": "auto"}
    ax.imshow(decibels, origin="lower", extent=(0, columns * hop / rate, 0, rate / 2000), **style)
    return style_axes(ax, x="time (s)", y="frequency (kHz)")


# --- shared helpers ----------------------------------------------------------------------------------------------


def _check(caller: str, ax: Any, model: Any = None, *kinds: type) -> None:
    """Raise TypeError if `ax` is no Axes or `model` is of none of the kinds."""
    if not (hasattr(ax, "imshow") and hasattr(ax, "spines")):
        raise TypeError(f"{caller} expected ax as matplotlib Axes, got {ax!r:.200}: pass figure(6, 4).subplots().")
    if kinds and not isinstance(model, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{caller} expected model as a fitted {names}, got {model!r:.200}: pass one.")


def _row(x: ArrayLike, caller: str, name: str) -> Array:
    """x (k,) as a table (1, k)."""
    return as_table(as_numbers(x, caller, name)[None], caller, name=f"{name}[None]")


def _sheet(
    rows: Sequence[ArrayLike], image_shape: ImageShape, caller: str, gap: int | None = None
) -> tuple[Array, int, int]:
    """Rows of images on one large image with white gaps; and the height of an image and of a gap."""
    if not rows:
        raise ValueError(f"{caller} expected at least one row of images, got none: pass some.")
    d = as_table(rows[0], caller, name="images").shape[1]
    height, width = as_image_shape((math.isqrt(d),) * 2 if image_shape is None else image_shape, caller)
    if height * width != d:
        raise ValueError(f"{caller} expected image_shape of {d} pixels, got {image_shape}: pass (height, width).")
    tables = [as_table(images, caller, name="images", width=d) for images in rows]
    gap = max(1, height // 14) if gap is None else gap
    n = max(map(len, tables))
    sheet = np.zeros((len(tables) * (height + gap) - gap, n * (width + gap) - gap))
    for i, images in enumerate(tables):
        for j, image in enumerate(images):
            top, left = i * (height + gap), j * (width + gap)
            sheet[top : top + height, left : left + width] = image.reshape(height, width)
    return np.round(sheet * 16) / 16, height, gap  # sixteen levels are enough to see, and halve the file


def _bare(ax: Axes) -> Axes:
    """Remove ticks and frame."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax
