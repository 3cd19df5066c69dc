"""A parameter: what a network learns, beside the gradient that says how to change it.

    L(w + d) ≈ L(w) + sum(dL/dw · d)        for a small change d of the numbers w

`flatten` lays all parameters of a network one after the other in one vector, and their gradients in another.
Each parameter then is a view of its stretch, so that writing `W.value` writes the vector, and one
optimizer step or one finite-difference check runs over a single array.

Next: `initializers.py` fills the values; `layers.py` uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from npae.arrays import LINE, Array, aligned


class Parameter:
    """An array that is learned, and the gradient of the loss with respect to it.

    Attributes
    ----------
    value : Array
        The numbers.
    grad : Array
        dL/dvalue, of the same shape and dtype; zero until a backward pass sets it.
    name : str
        Where it belongs: "W" in a layer, "0.W" in the first layer of a `Sequential`.

    Raises TypeError if the value is not a floating array.

    Example
    -------
    >>> import numpy as np
    >>> Parameter(np.ones((2, 3)), "W")
    Parameter('W', (2, 3), float64)
    """

    def __init__(self, value: Array, name: str) -> None:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fc":
            kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
            raise TypeError(f"Parameter expected value as a floating array, got {kind}: pass np.zeros(3), for example.")
        self.value = value
        self.grad = np.zeros_like(value)
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        """What a copy and a pickle take along: not the gradient of the last batch."""
        return type(self), (self.value, self.name)

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, {self.value.shape}, {self.value.dtype})"


def check_distinct(parameters: Sequence[Parameter], caller: str) -> None:
    """Raise ValueError if a parameter stands there twice: each backward pass would overwrite the gradient of the other.

    Example
    -------
    >>> import numpy as np
    >>> W = Parameter(np.ones((2, 3)), "W")
    >>> check_distinct([W, Parameter(W.value.copy(), "V")], "example")
    """
    if len({id(p) for p in parameters}) == len(parameters):
        return
    twice = next(p for i, p in enumerate(parameters) if any(p is q for q in parameters[:i]))
    raise ValueError(
        f"{caller} expected each parameter once, got {twice!r} twice: layers cannot share a parameter, since each "
        "backward overwrites its gradient: give every layer its own."
    )


def flatten(parameters: Sequence[Parameter]) -> Parameter:
    """One parameter, a vector, of which all the given ones become views.

    Values are kept; `value` and `grad` of each given parameter are re-pointed into the vector's. Each begins on a
    cache line, unless all are small; what is left of the line before stays 0, and so does its gradient.

    Raises
    ------
    ValueError
        If there is nothing to flatten, the dtypes differ, or a parameter stands there twice.

    Example
    -------
    >>> import numpy as np
    >>> W, b = Parameter(np.ones((2, 3)), "W"), Parameter(np.zeros(3), "b")
    >>> flat = flatten([W, b])
    >>> flat.value[0] = 5.0
    >>> W.value[0, 0], flat.value.size
    (np.float64(5.0), 16)
    """
    dtypes = {p.value.dtype for p in parameters}
    if len(dtypes) != 1:
        raise ValueError(
            f"flatten expected parameters of one dtype, got {sorted(map(str, dtypes)) or 'no parameters'}: "
            "build every layer with the same dtype."
        )
    check_distinct(parameters, "flatten")
    dtype = dtypes.pop()
    starts = np.cumsum([0, *(-(-p.value.nbytes // LINE) * LINE // dtype.itemsize for p in parameters)]).tolist()
    flat = Parameter(aligned((starts[-1],), dtype, fill=0), "parameters")
    flat.grad = aligned((starts[-1],), dtype, fill=0)
    for p, start in zip(parameters, starts, strict=False):
        stretch = slice(start, start + p.value.size)
        flat.value[stretch] = p.value.ravel()
        p.value = flat.value[stretch].reshape(p.value.shape)
        p.grad = flat.grad[stretch].reshape(p.value.shape)
    return flat
