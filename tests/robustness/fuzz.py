"""Feed mutated and generated inputs to everything that reads what users give, and judge what becomes of them.

An input is either refused with a sentence or accepted with the meaning that an independent reader gives it. Anything
else is a finding: another exception, a case that takes longer than a few seconds, an input that is accepted although
it is damaged. Each target says in its docstring what must hold for an accepted input. A case is a function of the
seed, the target and its number, so that ``--only TARGET --first NUMBER --cases 1`` repeats one.

    uv run python tests/robustness/fuzz.py --cases 100000 --log results/robustness/fuzz.md
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import random
import shlex
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol

FOLDER = Path(__file__).resolve().parent
#: A case hangs if it computes for longer, or if it takes longer in all, which a busy machine can do to any case.
SECONDS, LONGEST = 5.0, 60.0
#: Seconds between two lines on the progress.
EVERY = 60.0
#: Findings of a kind that are kept with their case.
KEPT = 3


class SilentError(AssertionError):
    """A damaged input was accepted, or an input was accepted with another meaning."""


class HangError(BaseException):
    """A case took too long. It is no Exception, so that nothing catches it."""


class Target(Protocol):
    """One reader of what users give.

    Attributes:
        name: its name in the log.
        refusals: exceptions that are refusals with a sentence.
    """

    name: ClassVar[str]
    refusals: ClassVar[tuple[type[BaseException], ...]]

    def case(self, draw: random.Random) -> Any:
        """Return an input."""

    def run(self, case: Any, draw: random.Random) -> bool:
        """Give an input to the reader, and return whether it is accepted.

        Raises:
            SilentError: it is accepted, but should not be, or means something else.
        """


@dataclass
class Outcome:
    """What became of the cases of a target; findings by their kind, with some of the cases."""

    name: str
    cases: int = 0
    accepted: int = 0
    seconds: float = 0.0
    tracebacks: int = 0
    hangs: int = 0
    silent: int = 0
    findings: dict[str, list[str]] = field(default_factory=dict)

    @property
    def faults(self) -> int:
        return self.tracebacks + self.hangs + self.silent


def fuzz(
    target: Target, cases: int, seed: int = 0, first: int = 0, say: Callable[[str], None] = lambda line: None
) -> Outcome:
    """Run some cases of a target.

    Args:
        first: number of the first case.
        say: takes a line on the progress now and then.
    """
    outcome = Outcome(target.name)
    gc.freeze()  # torch and the parsers hold many objects, which need not be looked through again and again
    began = shown = time.monotonic()
    before = {number: signal.signal(number, _hang) for number in (signal.SIGALRM, signal.SIGPROF)}
    try:
        for number in range(first, first + cases):
            draw = random.Random(f"{seed} {target.name} {number}")
            case = target.case(draw)
            finding = _judge(target, case, draw, number, outcome)
            if finding:
                say(f"{target.name}: {finding}")
            outcome.cases += 1
            outcome.seconds = time.monotonic() - began
            if time.monotonic() - shown > EVERY:
                shown = time.monotonic()
                say(f"{target.name}: {outcome.cases:,} of {cases:,} cases, {outcome.faults} findings")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return outcome


def _judge(target: Target, case: Any, draw: random.Random, number: int, outcome: Outcome) -> str:
    """Run one case, count it, and return the finding if it is one that is kept, else an empty text."""
    _set_timers(SECONDS, LONGEST)
    try:
        outcome.accepted += target.run(case, draw)
        return ""
    except target.refusals as refusal:
        _set_timers(0, 0)
        if str(refusal).strip():
            return ""
        kind, text = "tracebacks", f"{type(refusal).__name__} without a sentence"
    except SilentError as error:
        kind, text = "silent", str(error)
    except HangError as error:
        kind, text = "hangs", f"hangs at {_place(error)}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        kind, text = "tracebacks", f"{type(error).__name__} at {_place(error)}: {str(error)[:120]}"
    finally:
        _set_timers(0, 0)
    setattr(outcome, kind, getattr(outcome, kind) + 1)
    # Findings are of one kind if they differ in numbers and quoted words alone.
    name = f"{kind}: {text.split(': ')[0]}"
    kept = outcome.findings.setdefault(name, [])
    if len(kept) >= KEPT:
        return ""
    kept.append(f"case {number}: {text[:300]!r} from {repr(case)[:400]}")
    return kept[-1]


def _set_timers(computing: float, in_all: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, computing)
    signal.setitimer(signal.ITIMER_REAL, in_all)


def _hang(number: int, frame: Any) -> None:
    raise HangError


def _place(error: BaseException) -> str:
    """Return the innermost line of the packages that an error passed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/packages/" in frame.filename] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"


def targets(folder: Path) -> list[Target]:
    """Return every target; each writes its files below the folder."""
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    import fuzz_command_lines
    import fuzz_data
    import fuzz_declarations
    import fuzz_results

    return [
        kind(folder / kind.name.replace(" ", "-"))
        for module in (fuzz_command_lines, fuzz_declarations, fuzz_results, fuzz_data)
        for kind in module.TARGETS
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000, help="cases of each target (default: 100,000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case (default: 0)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all cases (default: 0)")
    parser.add_argument("--only", nargs="+", default=[], metavar="TARGET", help="targets to run; all without it")
    parser.add_argument("--log", type=Path, help="markdown file for the results")
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    words = sys.argv[1:] if argv is None else argv
    outcomes = []
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None) as folder:
        for target in targets(Path(folder)):
            if args.only and target.name not in args.only:
                continue
            outcome = fuzz(target, args.cases, args.seed, args.first, lambda line: print(line, flush=True))
            outcomes.append(outcome)
            rate = outcome.cases / max(outcome.seconds, 1e-9)
            print(
                f"{outcome.name}: {outcome.cases:,} cases, {rate:,.0f} a second, {outcome.accepted:,} accepted", end=""
            )
            print(f", {outcome.tracebacks} tracebacks, {outcome.hangs} hangs, {outcome.silent} silent", flush=True)
            for name, kept in outcome.findings.items():
                print(f"  {name}\n    " + "\n    ".join(kept), flush=True)
            if args.log:
                args.log.write_text(report(outcomes, words))
    return 1 if any(outcome.faults for outcome in outcomes) else 0


def report(outcomes: Sequence[Outcome], words: Sequence[str]) -> str:
    """Return the log of a run as markdown."""
    from ssm_bench.provenance import code_version

    lines = [
        "# Mutated and generated inputs",
        "",
        f"`uv run python tests/robustness/fuzz.py {shlex.join(words)}`, {platform.machine()}, one process on "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, commit {code_version()}, "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        "",
        "Tracebacks are exceptions other than refusals with a sentence. A case hangs if it computes for longer than "
        f"{SECONDS:.0f} s or takes longer than {LONGEST:.0f} s. Silent acceptances are damaged inputs that are "
        "accepted, or that mean something else than an independent reader says.",
        "",
        "| target | cases | accepted | refused | tracebacks | hangs | silent acceptances | seconds |",
        "| :-- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for each in outcomes:
        refused = each.cases - each.accepted - each.faults
        lines.append(
            f"| {each.name} | {each.cases:,} | {each.accepted:,} | {refused:,} | {each.tracebacks} | {each.hangs} "
            f"| {each.silent} | {each.seconds:,.0f} |"
        )
    lines += ["", "## Findings", ""]
    found = [(each.name, name, kept) for each in outcomes for name, kept in each.findings.items()]
    for target, name, kept in found:
        lines += [f"- {target}: {name}", *(f"  - `{text.replace('`', chr(39))}`" for text in kept)]
    return "\n".join([*lines, *([] if found else ["None."])]) + "\n"


if __name__ == "__main__":
    # The targets import this module by its name, and an exception must be of one class.
    from fuzz import main as named_main

    sys.exit(named_main())
