"""The notice that this process must stop: a cell process installs the signal handlers, training reads the notice."""

from __future__ import annotations

import os
import signal
from types import FrameType

from ssm_bench.errors import Preempted

#: A job asks SLURM to send SIGUSR2 as a warning. SLURM, a shell or a system shutdown send SIGTERM.
SIGNALS = (signal.SIGUSR2, signal.SIGTERM)


class Notice:
    """Tells whether this process received a signal to stop.

    Before training begins and after it has ended there is nothing to save, so the signal handler raises
    :class:`~ssm_bench.errors.Preempted`. During training the handler only sets ``received``; training then saves at a
    step from which it can be resumed exactly.
    """

    def __init__(self) -> None:
        self.received = False
        self._owner: int | None = None
        self._deferring = False

    def install(self) -> None:
        """Handle the stop signals in this process. Loader processes inherit the handler, which does nothing there."""
        self._owner = os.getpid()
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def defer(self) -> None:
        """Only note the signals from now on, because training begins."""
        self._deferring = True
        if self._owner is not None:
            # The trainer has replaced the handlers by its own.
            self.install()

    def release(self) -> None:
        """Raise at the signals again, because training has ended.

        Raises:
            Preempted: a signal came during training.
        """
        self._deferring = False
        if self.received:
            raise Preempted

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # A second signal must not interrupt the shutdown that the first one started.
        if os.getpid() != self._owner or self.received:
            return
        self.received = True
        if not self._deferring:
            raise Preempted


#: The only notice of this process, because signal handlers belong to the whole process.
notice = Notice()
