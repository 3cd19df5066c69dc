"""One line that tells how training goes, on a terminal; silence elsewhere, unless asked."""

from __future__ import annotations

import sys
import time


class Progress:
    """Writes `epoch 3/20  loss 0.0931  validation 0.0942  1.2 s  20 s left` to standard error.

    On a terminal the line is rewritten in place; elsewhere, with `verbose=True`, each epoch is a line.

    Parameters
    ----------
    epochs : int
        How many there will be.
    verbose : bool or None
        True writes, False does not, None writes only where standard error is a terminal.
    before : int
        How many epochs had been done before.
    """

    def __init__(self, epochs: int, verbose: bool | None = None, before: int = 0) -> None:
        self.epochs, self.before = epochs, before
        self.terminal = bool(getattr(sys.stderr, "isatty", lambda: False)())
        self.on = self.terminal if verbose is None else bool(verbose)
        self.started = time.perf_counter()

    def epoch(self, done: int, loss: float, validation_loss: float | None) -> None:
        """Report that epoch number `done` (from 1) is over."""
        if not self.on:
            return
        seconds = time.perf_counter() - self.started
        left = seconds / (done - self.before) * (self.epochs - done)
        validation = "" if validation_loss is None else f"  validation {validation_loss:.4g}"
        self._write(
            f"epoch {done}/{self.epochs}  loss {loss:.4g}{validation}  {seconds:.1f} s  {left:.0f} s left",
            last=done == self.epochs,
        )

    def stopped(self, reason: str) -> None:
        """Report that training ended early."""
        if self.on:
            self._write(reason, last=True)

    def _write(self, line: str, last: bool) -> None:
        if self.terminal:
            sys.stderr.write("\r\x1b[K" + line + ("\n" if last else ""))
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()
