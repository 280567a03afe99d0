"""The terminal that the verbs print to."""

from __future__ import annotations

from rich.console import Console

#: Width of the output to a file or a pipe, which has no width of its own. It is large, so that tables are not folded.
PIPE_WIDTH = 120


def make_console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console
