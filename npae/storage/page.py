"""A page to play with: a model, its weights and some rows of data as one HTML file.

The page needs a browser, and nothing else: no server, no network, no npae. It is `explorer.html`, in which three places
are filled in:

    script      `explorer.js`, which computes z = f(x) and x_hat = g(z) and draws
    model       JSON: the steps of f and g (see `formulas`), ranges, names, results that the page must reproduce
    numbers     base64 of all arrays, one after the other; the JSON says where each begins

A matrix W (n_in, n_out) is written in float32, or in eight bits with a scale s_j for each output unit:

    q_ij = round(w_ij / s_j)          s_j = max_i |w_ij| / 127          w_ij ≈ s_j q_ij

so each weight moves by at most s_j / 2 (Krishnamoorthi, 2018, "Quantizing deep convolutional networks for efficient
inference", section 2.2). Biases and means keep the model's dtype.
"""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from npae.estimator.arguments import as_image_shape, as_path
from npae.estimator.dataframes import NamedRows, column_names
from npae.fitting.callbacks import KeepWeights
from npae.kernels.arrays import Array, ArrayLike
from npae.storage.files import atomic_write
from npae.storage.formulas import Formulas, Step

ROWS, EXAMPLES, TESTED = 2000, 40, 4  # rows on the map; those that can be picked; those of the self test
KINDS = 12  # labels with a colour of their own
WEIGHTS = ("float32", "int8")


def export_page(
    path: str,
    model: Any,
    X: ArrayLike | None,
    *,
    labels: ArrayLike | None = None,
    image_shape: tuple[int, int] | None = None,
    names: Iterable[str] | None = None,
    units: Iterable[str] | None = None,
    scaler: Any = None,
    weights: str = "float32",
    kept: KeepWeights | None = None,
) -> None:
    """Write the page of a fitted model; the arguments are those of `Estimator.export`.

    The model gives its `_formulas()`, `encode`, `decode` and `reconstruct`. Raises TypeError or ValueError if an
    argument is not as documented, OSError if the file cannot be written. An older file at `path` is kept.
    """
    path, formulas = as_path(path, "export"), model._formulas()
    if X is None:
        raise TypeError("export expected X, rows to show on the page, got None: pass export('model.html', X), say.")
    if not isinstance(weights, str) or weights not in WEIGHTS:
        raise ValueError(f"export expected weights as one of {WEIGHTS}, got {weights!r}: choose one of these.")
    table: Array = model._table(X)
    kinds, kind_of = _labels(labels, len(table))
    columns = _columns(model, image_shape, X, names, units, scaler)
    frames = _kept(model, kept)
    chosen, examples = _selection(kind_of, len(table))
    rows, (x, stored) = _named(table[chosen], model), _stored(table[examples])
    block, written = _Numbers(), copy.deepcopy(model)  # its weights become those that the page computes with
    shown, codes = [], []
    for epoch, loss, vector in frames:
        if vector is not None:
            _set_weights(written, vector)
        shown.append({"epoch": epoch, "loss": loss} | _steps(written._formulas(), weights, block))
        codes.append(written.encode(rows))
    Z = codes[-1].astype(np.float64)
    centre, D = directions(Z)
    maps = [block.add(points(Z_then, centre, D)) for Z_then in codes]
    tested = _named(x[:TESTED], model)
    page = {
        "title": formulas.title, "d": table.shape[1], "k": Z.shape[1], "weights": weights, **columns,
        "ranges": _ranges(table[chosen], axis=0 if image_shape is None else None),
        "noise": formulas.noise, "samples": formulas.samples, "labels": kinds,
        "label_of": None if kind_of is None else block.add(kind_of[chosen]),
        "examples": block.add(stored), "example_labels": None if kind_of is None else kind_of[examples].tolist(),
        "frames": [frame | {"points": place} for frame, place in zip(shown, maps, strict=True)],
        "centre": centre.tolist(), "D": D.tolist(),
        "code": _ranges(Z, axis=0), "order": np.argsort(-Z.var(axis=0), kind="stable").tolist(),
        "errors": {
            "rows": len(rows), "model": float(model.reconstruction_error(rows).mean()),
            "page": float(written.reconstruction_error(rows).mean()),
        },
        "self_test": {"z": block.add(written.encode(tested)), "x_hat": block.add(written.reconstruct(tested))},
    }  # fmt: skip
    atomic_write(path, lambda stream: stream.write(_text(page, block)))


def quantised(W: Array) -> tuple[Array, Array]:
    """q (n_in, n_out) in int8 and s (n_out,) in float32 with W ≈ s q."""
    s = (np.abs(W).max(axis=0) / 127).astype(np.float32)
    return np.rint(W / np.where(s > 0, s, 1)).clip(-127, 127).astype(np.int8), s


def directions(Z: Array) -> tuple[Array, Array]:
    """The centre (k,) and two directions D (k, 2) of the map of codes Z (n, k), on which z lies at (z - centre) D.

    Codes of one or two numbers lie at these. Others lie on the plane of their largest variance (see `pca`).
    """
    k = Z.shape[1]
    if k <= 2:
        return np.zeros(k), np.eye(k, 2)
    centre = Z.mean(axis=0)
    _, V = np.linalg.eigh((Z - centre).T @ (Z - centre))  # by rising variance
    D = V[:, :-3:-1]
    return centre, D * np.sign(D[np.abs(D).argmax(axis=0), [0, 1]])


def points(Z: Array, centre: Array, D: Array) -> Array:
    """Where the codes lie on the map, (n, 2). Codes of one number are spread evenly in the other direction."""
    P = (Z - centre) @ D
    if len(D) == 1:
        P[:, 1] = 2 * (np.arange(len(P)) * (np.sqrt(5) - 1) / 2 % 1) - 1
    return P.astype(np.float32)


class _Numbers:
    """Arrays in one block of bytes, each once."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.places: dict[int, tuple[Array, dict[str, Any]]] = {}  # with the array, so that no other gets its id

    def add(self, a: Array, **more: Any) -> dict[str, Any]:
        """Where the array lies: its first byte, dtype and shape."""
        if id(a) not in self.places:
            place = {"at": len(self.bytes), "dtype": a.dtype.name, "shape": list(a.shape), **more}
            self.places[id(a)] = a, place
            self.bytes += a.astype(a.dtype.newbyteorder("<")).tobytes()
        return self.places[id(a)][1]

    def matrix(self, W: Array, weights: str) -> tuple[dict[str, Any], Array]:
        """Where W lies, and W as it was written."""
        if weights == "float32":
            as_written = W.astype(np.float32)
            return self.add(as_written), as_written
        q, s = quantised(W)
        return self.add(q, scale=self.add(s)), q * s


def _text(page: dict[str, Any], block: _Numbers) -> bytes:
    """`explorer.html`, filled in. Each place is filled once, so no text of a label can open another."""
    import hashlib  # here, since it is slow to import

    folder = Path(__file__).parent
    script = (folder / "explorer.js").read_text(encoding="utf-8")
    parts = {
        "title": page["title"], "script": script,
        "digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "model": json.dumps(page, allow_nan=False, separators=(",", ":")).replace("<", r"\u003c"),
        "numbers": base64.b64encode(block.bytes).decode(),
    }  # fmt: skip
    template = (folder / "explorer.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], template).encode()


def _steps(formulas: Formulas, weights: str, block: _Numbers) -> dict[str, list[Step]]:
    """The steps of f and g with places instead of arrays; the matrices of the model become those that were written."""
    places: dict[int, dict[str, Any]] = {}
    for W in formulas.matrices():
        places[id(W)], W[...] = block.matrix(W, weights)

    def placed(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return places[id(value)] if id(value) in places else block.add(value.copy())
        return value

    halves = {"f": formulas.f, "g": formulas.g}
    return {name: [{key: placed(v) for key, v in step.items()} for step in steps] for name, steps in halves.items()}


def _kept(model: Any, kept: Any) -> list[tuple[int | None, float | None, Array | None]]:
    """(epoch, loss, weights) of each frame; the last one is the model as it is."""
    if kept is None:
        return [(None, None, None)]
    network = getattr(model, "network_", None)
    if not isinstance(kept, KeepWeights) or network is None:
        raise TypeError(
            f"export expected kept as a KeepWeights that was a callback of this model's fit, got {kept!r} and a "
            f"{type(model).__name__}: pass fit(X, callbacks=kept) first, or leave it out."
        )
    now = np.concatenate([p.value.ravel() for p in network.parameters()])
    if not kept.weights or any(vector.size != now.size for vector in kept.weights):
        sizes = sorted({vector.size for vector in kept.weights})
        raise ValueError(
            f"export expected kept with the {now.size} weights of some epochs of this model, got {len(kept.weights)} "
            f"epochs and sizes {sizes}: pass the callback of its own fit."
        )
    frames: list[Any] = list(zip(kept.epochs, kept.losses, kept.weights, strict=True))
    if not np.array_equal(now, kept.weights[-1]):
        history = model.history_.loss
        frames.append((len(history), float(history[-1]), now))
    return frames


def _set_weights(model: Any, vector: Array) -> None:
    first = 0
    for p in model.network_.parameters():
        p.value[...] = vector[first : first + p.value.size].reshape(p.value.shape)
        first += p.value.size


def _labels(labels: Any, n: int) -> tuple[list[str], Array | None]:
    """The different labels as text, and the number of each row's label."""
    if labels is None:
        return [], None
    try:
        values = np.asarray(labels)
        kinds, kind_of = np.unique(values, return_inverse=True)
    except (TypeError, ValueError) as error:
        raise TypeError(f"export expected labels of one kind, got {error}: pass numbers or text.") from error
    missing = values.dtype.kind == "f" and np.isnan(values).any()
    if values.shape != (n,) or len(kinds) > KINDS or missing:
        came = "NaN for some" if missing else f"{values.shape} and {len(kinds)} kinds"
        raise ValueError(
            f"export expected labels of shape ({n},) and at most {KINDS} kinds, got {came}: pass one label a row."
        )
    return [str(kind) for kind in kinds], kind_of.astype(np.uint8)


def _columns(model: Any, image_shape: Any, X: Any, names: Any, units: Any, scaler: Any) -> dict[str, Any]:
    """The shape of an image, or of columns the names, the units and (a, c) of a x + c, the numbers in these units."""
    d = model.n_features_in_
    if image_shape is None:
        usual = [f"x{j + 1}" for j in range(d)]
        fitted = vars(model).get("feature_names_in_", column_names(X, "export"))
        a, c = _unscaled(scaler, d)
        return {"names": _texts(names if names is not None else usual if fitted is None else fitted, d, "names"),
                "units": _texts([""] * d if units is None else units, d, "units"),
                "a": a.tolist(), "c": c.tolist(), "image_shape": None}  # fmt: skip
    given = [name for name, value in {"names": names, "units": units, "scaler": scaler}.items() if value is not None]
    if given:
        raise ValueError(f"export expected image_shape or {', '.join(given)}, got both: leave out one of them.")
    height, width = as_image_shape(image_shape, "export")
    if height * width != d:
        raise ValueError(f"export expected image_shape of {d} pixels, got {height} x {width}: pass the rows' shape.")
    return {"image_shape": [height, width]}


def _unscaled(scaler: Any, d: int) -> tuple[Array, Array]:
    """a (d,) and c (d,) with which the scaler's inverse is a x + c."""
    if scaler is None:
        return np.ones(d), np.zeros(d)
    tried = np.vstack([np.zeros(d), np.ones(d), np.random.default_rng(0).normal(size=(2, d))])
    try:
        before = np.asarray(scaler.inverse_transform(tried), dtype=float)
        c, a = before[0], before[1] - before[0]
        affine = before.shape == tried.shape and np.allclose(before, a * tried + c)
    except (AttributeError, TypeError, ValueError) as error:
        raise TypeError(
            f"export expected scaler fitted on {d} columns, with inverse_transform, got {scaler!r:.200} and {error}: "
            "pass the StandardScaler, say, that made X."
        ) from error
    if not affine or not np.isfinite(before).all():
        raise ValueError(
            f"export expected a scaler that multiplies each column by a number and adds one, got {scaler!r:.200}: "
            "leave it out, and the page shows the numbers of X."
        )
    return a, c


def _texts(values: Any, d: int, name: str) -> list[str]:
    several = list(values) if isinstance(values, Iterable) and not isinstance(values, str) else None
    if several is None or len(several) != d or not all(isinstance(value, str) for value in several):
        raise ValueError(f"export expected {name} as {d} texts, one for each column, got {values!r:.200}: pass a list.")
    return [str(value) for value in several]


def _selection(kind_of: Array | None, n: int) -> tuple[Array, Array]:
    """The rows on the map, evenly spaced, and the examples: the first rows of each label in turn."""
    rows = np.unique(np.linspace(0, n - 1, min(ROWS, n)).astype(int))
    if kind_of is None:
        return rows, rows[:EXAMPLES]
    seen, turns = np.zeros(KINDS, int), np.empty(len(rows), int)
    for i, kind in enumerate(kind_of[rows]):
        turns[i], seen[kind] = seen[kind], seen[kind] + 1
    return rows, rows[np.lexsort((kind_of[rows], turns))][:EXAMPLES]


def _stored(x: Array) -> tuple[Array, Array]:
    """The examples as the page reads them, and as they are stored: bytes for grey images, if nothing is lost."""
    grey = np.rint(x * 255)
    if grey.min() >= 0 and grey.max() <= 255 and np.array_equal(grey / x.dtype.type(255), x):
        return x, grey.astype(np.uint8)
    stored = x.astype(np.float32)
    return stored.astype(x.dtype), stored


def _ranges(X: Array, axis: int | None) -> dict[str, Any]:
    """The range, mean and spread of each column, or with axis None of all numbers."""
    X = X.astype(np.float64)
    parts = {"low": X.min(axis), "high": X.max(axis), "mean": X.mean(axis), "std": X.std(axis)}
    return {name: np.asarray(values).tolist() for name, values in parts.items()}


def _named(rows: Array, model: Any) -> Array:
    """The rows with the column names of fit, so that no check warns."""
    return NamedRows.of(rows, vars(model).get("feature_names_in_"))
