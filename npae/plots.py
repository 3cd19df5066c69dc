"""Pictures: functions that take data or a fitted model, draw on the Axes you give, and return it.

Only `figure` needs matplotlib to be importable; it makes a figure without a window, so that it works on a
machine that has none. Everything else draws on any Axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from npae.arrays import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from npae.autoencoder import AE

__all__ = ["BLUE", "GREY", "ORANGE", "code", "denoising", "figure", "history", "image_rows", "reconstructions"]

# Three of the eight colours that everyone can tell apart (Okabe and Ito, 2008, "Color universal design").
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#7F7F7F"


def figure(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` inches; `savefig` writes it.

    Raises ImportError if matplotlib is not installed; the message says how to install it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"npae.plots expected matplotlib to be importable, got {error}: "
            'install it with `pip install "npae[plots]"`.'
        ) from error
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def image_rows(rows: Mapping[str, Array], ax: Axes, image_shape: tuple[int, int] = (28, 28)) -> Axes:
    """Rows of grey images under one another, dark where a value is 1, each row named at its left.

    Parameters
    ----------
    rows : mapping of name to array (n, height · width)
        Values in [0, 1]; what lies outside is drawn as the end it is nearest to.
    """
    height, width = image_shape
    gap = max(1, height // 14)
    n = max(len(images) for images in rows.values())
    sheet = np.zeros((len(rows) * (height + gap) - gap, n * (width + gap) - gap))
    for i, images in enumerate(rows.values()):
        for j, image in enumerate(images):
            top, left = i * (height + gap), j * (width + gap)
            sheet[top : top + height, left : left + width] = image.reshape(height, width)
    ax.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    _bare(ax)
    ax.set_yticks([i * (height + gap) + height / 2 for i in range(len(rows))], list(rows))
    return ax


def reconstructions(model: AE, X: Array, ax: Axes, image_shape: tuple[int, int] = (28, 28)) -> Axes:
    """The images in the rows of X, and under each what the model makes of it."""
    return image_rows({"original": X, "reconstruction": model.reconstruct(X)}, ax, image_shape)


def denoising(model: AE, X: Array, X_noisy: Array, ax: Axes, image_shape: tuple[int, int] = (28, 28)) -> Axes:
    """Clean images, the same with noise, and what the model makes of the noisy ones."""
    return image_rows({"clean": X, "noisy": X_noisy, "denoised": model.reconstruct(X_noisy)}, ax, image_shape)


def code(z: Sequence[float] | Array, ax: Axes) -> Axes:
    """The numbers of one code as bars: blue upwards, orange downwards."""
    values = np.asarray(z)
    ax.bar(np.arange(len(values)), values, width=0.8, color=[BLUE if v > 0 else ORANGE for v in values])
    _bare(ax)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.margins(x=0.02)
    return ax


def history(model: AE, ax: Axes) -> Axes:
    """The loss after each epoch, on training and, where there were any, on validation data."""
    h = model.history_
    epochs = np.arange(1, len(h.loss) + 1)
    ax.plot(epochs, h.loss, color=BLUE, label="training")
    if h.validation_loss:
        ax.plot(epochs, h.validation_loss, color=ORANGE, label="validation")
        ax.legend(frameon=False)
    ax.set_xlabel("epoch")
    ax.set_ylabel(f"{type(model.loss_).__name__} per element")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _bare(ax: Any) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
