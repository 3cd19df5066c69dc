"""What `fit` adds around the training loop.

fit           check the arguments, begin or resume a training, run it
advice        warnings about a code that can copy, and a table without a scale
networks      encoder and decoder, new or copied from the user's
batches       tables, memory maps and iterables, cut into batches
recording     a training step that is recorded once and replayed
prediction    a network or a loss over many rows, a block at a time
objective     what training minimises, in parts
history       how training went, and everything that resuming needs
callbacks     what happens after each epoch; KeepWeights
progress      a line about each epoch on the terminal
"""

from npae.fitting.callbacks import KeepWeights
from npae.fitting.history import History, TrainingState

__all__ = ["History", "KeepWeights", "TrainingState"]
