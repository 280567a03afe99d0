"""Errors that a user can mend, and the wording of "no such name"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in the command line or a recipe: one sentence, exit status 2, nothing written."""


class RunError(Exception):
    """A run that could not give a result: one sentence. The plan's other cells go on."""


class BusyError(RunError):
    """Another process is at the cell."""


class Preempted(BaseException):
    """The process was told to stop and has saved its progress; the cell goes on when it is started again.

    Like ``KeyboardInterrupt`` it is no ``Exception``, because the code that it interrupts has not failed.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that does not exist: names it and the nearest known ones."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    if near:
        hint = f"the nearest known: {', '.join(near)}"
    elif choices:
        hint = f"known: {', '.join(choices)}"
    else:
        hint = "none is known"
    return UserError(f"There is no {kind} '{name}'; {hint}.")
