"""The notice that this process is to stop: a worker installs it, training heeds it. Does not import torch."""

from __future__ import annotations

import os
import signal
from types import FrameType

#: USR2 is the warning that a job asks SLURM for; TERM is what SLURM, a shell or a system shutdown sends.
SIGNALS = (signal.SIGUSR2, signal.SIGTERM)


class Preempted(BaseException):
    """The process was told to stop. What there is to save has been saved: the cell goes on when it is started again.

    Not an ``Exception``, for the reason that ``KeyboardInterrupt`` is none: it is no failure of what is running.
    """


class Notice:
    """Whether this process was told to stop.

    Until training begins and after it has ended there is nothing to save, and the signal itself raises
    :class:`Preempted`. In between it only sets ``received``, so that training saves where it can be resumed exactly.
    """

    def __init__(self) -> None:
        self.received = False
        self._owner: int | None = None
        self._deferring = False

    def install(self) -> None:
        """From now on this process heeds the signals (its loader processes inherit the handler, but not the role)."""
        self._owner = os.getpid()
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def defer(self) -> None:
        """Training begins."""
        self._deferring = True
        if self._owner is not None:
            # The trainer has put handlers of its own in front.
            self.install()

    def release(self) -> None:
        """Training has ended.

        Raises:
            Preempted: the signal came meanwhile.
        """
        self._deferring = False
        if self.received:
            raise Preempted

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # A second notice must not disturb the end that the first one led to.
        if os.getpid() != self._owner or self.received:
            return
        self.received = True
        if not self._deferring:
            raise Preempted


#: Signals belong to the process, and so does this.
notice = Notice()
