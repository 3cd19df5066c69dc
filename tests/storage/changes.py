"""Changes that turn the header and the arrays of a file into those of a forgery, and the places in a header."""

import copy
import json

PHILOX = ("parameters", "random_state", "Generator", "state", "dict")
SEEDS = ("parameters", "random_state", "Generator", "seed_sequence", "dict")
TRAINING = ("learned", "training_", "TrainingState")
NETWORK, LOSS, HISTORY = (*TRAINING, "network"), (*TRAINING, "loss"), (*TRAINING, "history", "History")
TWISTER = (*TRAINING, "noise_rng", "Generator", "state", "dict", "state", "dict")
W, b = "training.network.0.0.W", "training.network.0.0.b"


def places(node, above=()):
    """Every place in a JSON value."""
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield (*above, key)
        yield from places(node[key], (*above, key))


def at(node, place):
    for key in place:
        node = node[key]
    return node


def with_value(*place, value):
    def change(header, arrays):
        header = copy.deepcopy(header)
        at(header, place[:-1])[place[-1]] = value
        return header, arrays

    return change


def with_array(name, a):
    """The array in place of the one of that name, or added."""

    def change(header, arrays):
        header = copy.deepcopy(header)
        header["arrays"][name] = {"dtype": a.dtype.name, "shape": list(a.shape)}
        return header, arrays | {name: a}

    return change


def with_text(old, new):
    """The header's text with one piece replaced."""

    def change(header, arrays):
        text = json.dumps(header)
        assert text.count(old) == 1
        return text.replace(old, new).encode(), arrays

    return change


def both(first, second):
    return lambda header, arrays: second(*first(header, arrays))
