"""Real data: `digits` and `speech` ship with the package, `mnist` is downloaded.

Example
-------
>>> [len(sentence) // 8000 for sentence in speech()]  # seconds
[7, 2, 5, 6, 3]
"""

from npae.datasets.bundled import digits, speech
from npae.datasets.remote import mnist

__all__ = ["digits", "mnist", "speech"]
