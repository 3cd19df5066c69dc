"""Real data to learn from: `digits` and `speech`, which ship with the package, and `mnist`, the whole set.

Example
-------
>>> [len(sentence) // 8000 for sentence in speech()]                     # seconds
[7, 2, 5, 6, 3]
"""

from npae.datasets.bundled import digits, speech
from npae.datasets.remote import mnist

__all__ = ["digits", "mnist", "speech"]
