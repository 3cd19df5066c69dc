"""What `fit` adds around the training loop.

fit           check the arguments, begin or resume a training, run it
batches       tables, memory maps and iterables, cut into batches
recording     a training step that is recorded once and replayed
prediction    a network or a loss over many rows, a block at a time
history       how training went, and everything that resuming needs
callbacks     what happens after each epoch
progress      one line about it on the terminal
"""

from npae.fitting.callbacks import Callback
from npae.fitting.fit import begin_training, check_fit, resume_training, run_training
from npae.fitting.history import History, TrainingState
from npae.fitting.prediction import evaluate, predict_in_batches

__all__ = [
    "Callback",
    "History",
    "TrainingState",
    "begin_training",
    "check_fit",
    "evaluate",
    "predict_in_batches",
    "resume_training",
    "run_training",
]
