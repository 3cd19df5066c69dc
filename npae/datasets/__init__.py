"""Real data to learn from: `digits`, which ships with the package, and `mnist`, the whole set."""

from npae.datasets.bundled import digits
from npae.datasets.remote import mnist

__all__ = ["digits", "mnist"]
