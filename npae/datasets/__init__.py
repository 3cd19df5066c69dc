"""Real data to learn from: `digits` and `speech`, which ship with the package, and `mnist`, the whole set."""

from npae.datasets.bundled import digits, speech
from npae.datasets.remote import mnist

__all__ = ["digits", "mnist", "speech"]
