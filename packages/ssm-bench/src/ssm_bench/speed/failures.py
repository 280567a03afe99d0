"""Write the tracebacks of failed measurements to a file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ssm_bench.files import write_atomically


def write_traces(traces: Sequence[str], file: Path | None = None) -> Path:
    """Write tracebacks to a file and return it.

    Args:
        file: the file; None: a new file in the system's folder for temporary files.
    """
    if file is None:
        file = Path(tempfile.mkdtemp(prefix="bench-")) / "errors.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, "\n\n".join(traces))
    return file
