"""The terminal that the verbs print to."""

from __future__ import annotations

from rich.console import Console

#: Where output goes to a file or a pipe there is no terminal to ask, and a table should not be folded.
PIPE_WIDTH = 120


def make_console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console
