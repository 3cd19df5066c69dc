"""A progress line on a terminal; nothing elsewhere, unless asked for."""

from __future__ import annotations

import sys
import time


class Progress:
    """Writes `epoch 3/20  loss 0.0931  validation 0.0942  1.2 s  20 s left` to standard error.

    A terminal shows one line, rewritten after each epoch. Elsewhere each epoch is a line, with `verbose=True` only.

    Parameters
    ----------
    epochs : int
        The last epoch.
    verbose : bool or None
        True writes, False does not, None writes if standard error is a terminal.
    before : int
        The number of epochs that earlier fits have done.
    """

    def __init__(self, epochs: int, verbose: bool | None = None, before: int = 0) -> None:
        self.epochs, self.before = epochs, before
        self.terminal = bool(getattr(sys.stderr, "isatty", lambda: False)())
        self.on = self.terminal if verbose is None else bool(verbose)
        self.started = time.perf_counter()

    def epoch(self, done: int, loss: float, validation_loss: float | None) -> None:
        """Report the end of epoch `done`, counted from 1."""
        seconds = time.perf_counter() - self.started
        left = seconds / (done - self.before) * (self.epochs - done)
        validation = "" if validation_loss is None else f"  validation {validation_loss:.4g}"
        line = f"epoch {done}/{self.epochs}  loss {loss:.4g}{validation}  {seconds:.1f} s  {left:.0f} s left"
        self._write(line, last=done == self.epochs)

    def stopped(self, reason: str) -> None:
        """Report that training ended early."""
        self._write(reason, last=True)

    def _write(self, line: str, last: bool) -> None:
        if self.on:
            start, end = ("\r\x1b[K", "\n" if last else "") if self.terminal else ("", "\n")
            sys.stderr.write(start + line + end)
            sys.stderr.flush()
