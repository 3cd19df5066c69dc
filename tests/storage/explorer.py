"""What is in a page: its JSON, its arrays, and its steps in NumPy; and what the tests of pages export."""

import base64
import json
import re

import numpy as np

X = np.random.default_rng(0).random((60, 6))
Y = np.arange(60) % 3
QUICK = {"hidden": (5,), "latent_dim": 2, "epochs": 2, "random_state": 0}


def parts(path):
    """The JSON of a page, and a function that reads the array at a place, as the page's script does."""
    text = path.read_text(encoding="utf-8")
    model = json.loads(re.search(r'<script type="application/json" id="model">(.*?)</script>', text, re.DOTALL)[1])
    block = base64.b64decode(re.search(r'<script type="text/plain" id="numbers">(.*?)</script>', text)[1])

    def array(place):
        size = int(np.prod(place["shape"]))
        a = np.frombuffer(block, np.dtype(place["dtype"]), size, place["at"]).reshape(place["shape"])
        return a * array(place["scale"]) if "scale" in place else a

    return model, array


def follow(steps, x, array):
    """The steps of a page, in NumPy."""
    for step in steps:
        W, b, mean = (array(step[name]) if name in step else None for name in ("W", "b", "mean"))
        if step["step"] == "top_k":
            kept = np.argsort(-x, axis=1, kind="stable")[:, : step["k"]]
            x = np.where((np.arange(x.shape[1]) == kept[:, :, None]).any(axis=1), x, 0)
        else:
            x = {
                "dense": lambda x, W=W, b=b: x @ W + b, "tied": lambda x, W=W, b=b: x @ W.T + b,
                "subtract": lambda x, mean=mean: x - mean, "mean": lambda x, step=step: x[:, : step["k"]],
                "relu": lambda x: np.maximum(x, 0), "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh,
                "leaky_relu": lambda x, step=step: np.where(x > 0, x, step["slope"] * x),
                "elu": lambda x, step=step: np.where(x > 0, x, step["alpha"] * np.expm1(x)),
            }[step["step"]](x)  # fmt: skip
    return x


class Scaler:
    """u -> (u - c) / a, and back."""

    def __init__(self, a, c):
        self.a, self.c = a, c

    def transform(self, U):
        return (U - self.c) / self.a

    def inverse_transform(self, X):
        return X * self.a + self.c
