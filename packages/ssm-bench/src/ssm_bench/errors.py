"""Errors that a user can correct, and the error for an unknown name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """The command line or a recipe is wrong. The message is one sentence, the exit status is 2, nothing is written."""


class RunError(Exception):
    """A run cannot give a result. The message is one sentence; the other cells of the plan still run."""


class BusyError(RunError):
    """Another process is running the cell."""


class Preempted(BaseException):
    """The process was told to stop and has saved its progress; the cell resumes when it is started again.

    Like ``KeyboardInterrupt``, it is not an ``Exception``, because the code that it interrupts has not failed.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a name that does not exist. The message contains that name and the nearest known ones."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    if near:
        hint = f"the nearest known: {', '.join(near)}"
    elif choices:
        hint = f"known: {', '.join(choices)}"
    else:
        hint = "none is known"
    return UserError(f"There is no {kind} '{name}'; {hint}.")
