"""Real data: `digits` and `speech` ship with the package, `mnist` is downloaded."""

from npae.datasets.bundled import digits, speech
from npae.datasets.remote import mnist

__all__ = ["digits", "mnist", "speech"]
