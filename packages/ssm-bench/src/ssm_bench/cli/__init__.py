"""The command ``bench``. Each verb has a module of its own; nothing here imports torch before a run begins."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from ssm_bench.errors import UserError, unknown

#: verb -> what it does. Each verb is a module here with ``configure(parser)`` and ``run(args) -> exit status``.
VERBS = {
    "list": "what can be run: benchmarks, tasks, models, scales",
    "show": "a recipe, composed and resolved",
    "data": "state of the data, and fetching it",
    "jobs": "cells launched with --workers or --slurm: state, progress, logs; cancel, resubmit",
    "table": "the results of finished runs beside the published numbers",
    "doctor": "what runs here: device, versions, and the back end of each operator with the reasons",
    "kernels": "speed, memory and error of every operator, back end and layer",
}

OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")

EXAMPLES = """\
examples:
  bench lra --model s4d                            all tasks; paper scale with a GPU, else smoke
  bench lra --model s4d --task listops --seed 0 1 2 --scale mini
  bench lra --model s4d --scale paper --dry-run    the recipes, the data's state, a time estimate
  bench lra --model mine.py:MyLayer model.d_model=64
  bench lra --help                                 every option of a run
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit status: 0 done, 1 a cell failed, 2 the command is wrong."""
    from ssm_data.errors import DataError

    words = [*(sys.argv[1:] if argv is None else argv)]
    # A notebook may set a matplotlib back end that exists only in its own process. This command draws to files.
    os.environ["MPLBACKEND"] = "agg"
    try:
        with warnings.catch_warnings():
            _show_data_warnings_as_sentences()
            return _dispatch(words)
    except UserError as error:
        return _end(2, str(error))
    except DataError as error:
        return _end(1, str(error))
    except BrokenPipeError:
        # The reader of the output, such as head, has closed the pipe; Python's flush at exit would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _end(1, _sentence(error))
    except KeyboardInterrupt:
        return _end(130, "interrupted; the same command goes on where this one stopped.")


def _show_data_warnings_as_sentences() -> None:
    """Print each data warning once, as a sentence, without the line of code that Python adds to a warning."""
    from ssm_data.errors import DataWarning

    others = warnings.showwarning

    def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, DataWarning):
            print(f"bench: {message}", file=sys.stderr)
        else:
            others(message, category, *where, **more)

    warnings.showwarning = show
    warnings.simplefilter("once", DataWarning)


def _end(status: int, sentence: str) -> int:
    print(f"bench: {sentence}", file=sys.stderr)
    return status


def _sentence(error: OSError) -> str:
    """Return a sentence that says what the file system refused, and for which file."""
    if error.errno == errno.ENOSPC:
        return f"the disk is full ({error.filename or error}); free some space, and the same command goes on."
    if isinstance(error, FileNotFoundError) and not error.filename:
        return "the current folder does not exist any more; change to another one."
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}."


def _dispatch(words: list[str]) -> int:
    from ssm_bench.catalog import benchmark, benchmarks

    if not words or words[0] in ("-h", "--help"):
        _overview()
        return 0
    first = words[0]
    known = benchmarks()
    if first in VERBS:
        module, parser = (
            importlib.import_module(f"ssm_bench.cli.{first}"),
            _parser(f"bench {first}", VERBS[first]),
        )
    elif first.replace("-", "_") in known:
        chosen = benchmark(first)
        module = importlib.import_module("ssm_bench.cli.run")
        parser = _parser(f"bench {first}", f"Run {chosen.title}: train, evaluate, and print the table.")
        parser.set_defaults(benchmark=chosen)
    else:
        raise unknown("benchmark or verb", first, [*known, *VERBS])
    module.configure(parser)
    # Overrides may stand anywhere in the command line, even after an option that takes several words.
    overrides = [word for word in words[1:] if OVERRIDE.match(word)]
    args, rest = parser.parse_known_args([word for word in words[1:] if not OVERRIDE.match(word)])
    if rest:
        hint = "; a change of the recipe is one word, key=value" if parser.get_default("takes_overrides") else ""
        parser.error(f"{' '.join(rest)} is not understood{hint}")
    if overrides and not parser.get_default("takes_overrides"):
        parser.error(f"{overrides[0]} changes a recipe, and bench {first} has none")
    args.overrides = overrides
    args.command = words
    return module.run(args)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UserError(f"{message}. See {self.prog} --help.")


def _parser(prog: str, description: str) -> argparse.ArgumentParser:
    from rich_argparse import RawDescriptionRichHelpFormatter

    return _Parser(
        prog=prog,
        description=description[0].upper() + description[1:],
        formatter_class=RawDescriptionRichHelpFormatter,
        allow_abbrev=False,
    )


def _overview() -> None:
    from rich.table import Table

    from ssm_bench.catalog import benchmarks
    from ssm_bench.cli.console import make_console

    console = make_console()
    console.print("usage: bench BENCHMARK --model NAME \\[options] \\[key=value ...]\n       bench VERB \\[options]\n")
    console.print("Benchmark suites for structured state space models: reproducible runs, records, tables.\n")
    grid = Table.grid(padding=(0, 3))
    for name, each in benchmarks().items():
        grid.add_row(f"  [bold]{name}", f"{each.title}: {', '.join(each.meta['tasks'])}")
    grid.add_row()
    for verb, purpose in VERBS.items():
        grid.add_row(f"  [bold]{verb}", purpose)
    console.print(grid)
    print(f"\n{EXAMPLES}", end="")
