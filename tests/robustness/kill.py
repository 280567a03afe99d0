"""Kill runs at random moments, start them again until they are done, and compare them with undisturbed runs.

A run that was killed with SIGKILL any number of times must give the same record, the same metrics.csv and the same
weights as a run that nobody disturbed, bit for bit, and must leave the same files. The moments come from a seeded
generator. The victim is the whole process group, the first process alone, or one of its ranks or loader workers.

    uv run python tests/robustness/kill.py --kills 50 --log results/robustness/kill.md
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).resolve().parent

#: A benchmark with three tasks that train in about two seconds: classes of sequences, a stream whose state is carried
#: from window to window, and sequences that are drawn anew for each epoch.
DECLARATIONS = {
    "benchmark.yaml": """\
title: Trial
version: 1
metric: accuracy
tasks: [classes, stream, fresh]
""",
    "classes.yaml": """\
title: Classes
data: {name: listops, miniature: true, limit: {train: 320, val: 64, test: 64}}
training:
  seed: 3
  model: {n_layers: 2, d_model: 8, d_state: 4, dropout: 0.2, norm: batch}
  optimizer: {lr: 0.01}
  scheduler: {name: cosine_warmup, warmup_steps: 10}
  trainer: {batch_size: 16, epochs: 3}
""",
    "stream.yaml": """\
title: Stream
data: {name: text8, miniature: true, l_max: 64, limit: {train: 5000, val: 2000, test: 2000}}
training:
  seed: 3
  model: {n_layers: 2, d_model: 8, d_state: 4, dropout: 0.2, bidirectional: false}
  optimizer: {lr: 0.01}
  scheduler: {name: plateau, patience: 0}
  trainer: {batch_size: 4, epochs: 3, carry_state: true}
""",
    "fresh.yaml": """\
title: Fresh
data: {name: copying, miniature: true, limit: {train: 320, val: 64, test: 64}}
training:
  seed: 3
  model: {n_layers: 2, d_model: 8, d_state: 4, dropout: 0.2}
  optimizer: {lr: 0.01}
  trainer: {batch_size: 16, epochs: 3}
""",
}
#: Files of a run folder that tell of the attempts and not of the result.
OF_ATTEMPTS = ("status.json", ".status.json.", "log.txt", ".lock")
#: Seconds within which everything that a killed run started must have ended, and within which a run must end.
END_SECONDS, RUN_SECONDS = 60.0, 600.0
#: More attempts at one run mean that it makes no progress.
MOST_ATTEMPTS = 60
POLL_SECONDS = 0.002

Victim = Literal["all", "first", "child"]
Phase = Literal["start-up", "training", "writing", "end"]


@dataclass(frozen=True)
class Scenario:
    """One way to run a task.

    Attributes:
        recipe: words that change the recipe, which the undisturbed run has, too.
        runtime: words that change how the run is carried out. Of these the undisturbed run has only the devices.
        launches: the command starts a process of its own for each cell, so it runs a task of the checkout's benchmarks.
    """

    task: str
    runtime: tuple[str, ...]
    recipe: tuple[str, ...] = ()
    launches: bool = False

    @property
    def name(self) -> str:
        return " ".join([self.task, *self.recipe, *self.runtime])

    @property
    def undisturbed(self) -> Scenario:
        devices = tuple(word for word in self.runtime if word.startswith(("devices", "accelerator")))
        return Scenario(self.task, devices, self.recipe, self.launches)

    def words(self, out: Path) -> list[str]:
        scale = "smoke" if self.launches else "paper"
        options = ["--model", "s4d", "--task", self.task, "--scale", scale, "--out", str(out)]
        return ["lra" if self.launches else "trial", *options, *self.recipe, *self.runtime]


LOADERS = ("loader_workers=2",)
RANKS = ("devices=2", "accelerator=cpu")
EACH_STEP = ("checkpoint_minutes=0",)
#: A sweep of two points, in two processes at a time; importing torch takes most of the time of each attempt.
SWEEP = (
    *("--sweep", "optimizer.lr=0.01,0.02", "trainer.epochs=12", "trainer.batch_size=16", "must_beat_chance=false"),
    *("model.d_model=8", "model.d_state=4", "model.dropout=0.2", "data.limit={train:320,val:64,test:64}"),
)
#: The four of the short form.
SHORT = tuple(Scenario(task, (*how, *EACH_STEP)) for task in ("classes", "stream") for how in (LOADERS, RANKS))
#: What the long form adds: saves at the ends of epochs alone, buckets, fresh data, loader workers of several ranks, and
#: sweeps in processes of their own.
LONG = (
    *SHORT,
    *(Scenario(task, how) for task in ("classes", "stream") for how in (LOADERS, RANKS)),
    *(Scenario("classes", (*how, *EACH_STEP), ("trainer.bucket=true",)) for how in (LOADERS, RANKS)),
    *(Scenario("fresh", (*how, *EACH_STEP)) for how in (LOADERS, RANKS)),
    *(Scenario(task, (*LOADERS, *RANKS, *EACH_STEP)) for task in ("classes", "stream", "fresh")),
    Scenario("classes", (*LOADERS, *RANKS), ("trainer.bucket=true",)),
    Scenario("fresh", (*LOADERS, *RANKS)),
    Scenario("listops", ("--workers", "2", *EACH_STEP), SWEEP, launches=True),
    Scenario("listops", ("--workers", "2"), SWEEP, launches=True),
)


@dataclass
class Result:
    """What became of the kills of a scenario: counts by phase and victim, runs compared, and findings."""

    scenario: Scenario
    phases: Counter[Phase] = field(default_factory=Counter)
    victims: Counter[Victim] = field(default_factory=Counter)
    runs: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return sum(self.phases.values())


class Harness:
    """Starts, kills and compares runs below a folder.

    Args:
        work: an empty folder.
        say: takes a line on each kill and each run.
    """

    def __init__(self, work: Path, say: Callable[[str], None] = lambda line: None) -> None:
        self.work = work
        self.say = say
        self.benchmarks = work / "benchmarks"
        trial = self.benchmarks / "trial"
        trial.mkdir(parents=True)
        for name, text in DECLARATIONS.items():
            (trial / name).write_text(text)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(list(_import_process().PRELOAD))
        self._undisturbed: dict[Scenario, tuple[Path, float]] = {}

    def kill(self, scenario: Scenario, kills: int, seed: int) -> Result:
        """Kill runs of a scenario ``kills`` times, and compare each run that is done with the undisturbed one."""
        draw = random.Random(f"{seed} {scenario.name}")
        whole, seconds = self.undisturbed(scenario.undisturbed)
        result = Result(scenario)
        while result.kills < kills:
            number = result.runs
            out = self.work / f"{_slug(scenario.name)}-{number}"
            self._until_done(scenario, out, draw, seconds, kills, result)
            result.runs += 1
            found = [f"run {number}: {difference}" for difference in differences(whole, out)]
            self.say(f"{scenario.name}: run {number} {'; '.join(found) or 'equals the undisturbed one'}")
            result.findings += found
        return result

    def undisturbed(self, scenario: Scenario) -> tuple[Path, float]:
        """Return the folder of an undisturbed run and the seconds from the begin of its training to its end."""
        if scenario not in self._undisturbed:
            out = self.work / f"{_slug(scenario.name)}-undisturbed"
            process = self._start(scenario, out)
            self._wait_for_training(out, process, time.time())
            began = time.monotonic()
            process.join(RUN_SECONDS)
            if process.exitcode != 0:
                raise RuntimeError(f"{scenario.name} fails without being disturbed: {_tail(out)}")
            self._undisturbed[scenario] = out, time.monotonic() - began
        return self._undisturbed[scenario]

    def _until_done(
        self, scenario: Scenario, out: Path, draw: random.Random, seconds: float, kills: int, result: Result
    ) -> None:
        for _ in range(MOST_ATTEMPTS):
            began = time.time()
            process = self._start(scenario, out)
            if result.kills < kills:
                self._kill(process, out, draw, seconds, began, result)
            process.join(RUN_SECONDS)
            if process.exitcode is None:
                os.killpg(process.pid, signal.SIGKILL)
                result.findings.append(f"a run did not end in {RUN_SECONDS:.0f} s: {_tail(out)}")
            if not scenario.launches or process.exitcode == 0:
                self._wait_for_end(process.pid, out, result)
            if process.exitcode == 0:
                return
            if scenario.launches and any(_members(process.pid, out)):
                time.sleep(1)  # the cells that go on without their launcher are busy for a while
        result.findings.append(f"{out.name} is not done after {MOST_ATTEMPTS} attempts: {_tail(out)}")

    def _kill(self, process: Any, out: Path, draw: random.Random, seconds: float, began: float, result: Result) -> None:
        """Kill a run at a moment that is drawn, unless the run ends before."""
        victim: Victim = draw.choice(("all", "first", "child"))
        at_start, in_write, share = draw.random() < 0.15, draw.random() < 0.4, draw.random()
        if at_start:
            time.sleep(share)
        else:
            self._wait_for_training(out, process, began)
            time.sleep(share * seconds)
            if in_write:
                while process.is_alive() and not _is_writing(out):
                    time.sleep(POLL_SECONDS / 4)
        if not process.is_alive():
            return
        phase = _phase(out, began)
        members = [pid for pid in _members(process.pid, out) if pid != process.pid]
        if victim == "child" and not members:
            victim = "first"
        try:
            for pid in _chosen(victim, process.pid, members, draw):
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        result.phases[phase] += 1
        result.victims[victim] += 1
        self.say(f"{result.scenario.name}: kill {result.kills}, {phase}, {victim}, {time.time() - began:.2f} s")

    def _start(self, scenario: Scenario, out: Path) -> Any:
        run_command = _import_process().run_command
        benchmarks = None if scenario.launches else self.benchmarks
        process = self.context.Process(
            target=run_command, args=(scenario.words(out), benchmarks, out.with_suffix(".log"))
        )
        process.start()
        return process

    @staticmethod
    def _wait_for_training(out: Path, process: Any, began: float) -> None:
        while process.is_alive() and not _trains(out, began):
            time.sleep(POLL_SECONDS)

    @staticmethod
    def _wait_for_end(group: int, out: Path, result: Result) -> None:
        """Wait until no process of a run is left; kill those that stay, and count them as a finding."""
        deadline = time.monotonic() + END_SECONDS
        while left := list(_members(group, out)):
            if time.monotonic() > deadline:
                result.findings.append(f"{len(left)} processes stayed after {out.name} was killed")
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                return
            time.sleep(POLL_SECONDS)


def differences(whole: Path, resumed: Path) -> Iterator[str]:
    """Yield a sentence for each way in which the finished runs below one folder differ from those below another."""
    folders = [sorted(file.parent.relative_to(out) for file in out.rglob("record.json")) for out in (whole, resumed)]
    if folders[0] != folders[1]:
        yield f"the finished runs are {list(map(str, folders[1]))} instead of {list(map(str, folders[0]))}"
        return
    for folder in folders[0]:
        yield from _run_differences(whole / folder, resumed / folder)


def _run_differences(whole: Path, resumed: Path) -> Iterator[str]:
    import torch

    records = [json.loads((folder / "record.json").read_text()) for folder in (whole, resumed)]
    for key in ("metrics", "steps", "epochs", "hash", "data_fingerprint", "data_sizes", "parameters", "recipe"):
        if records[0][key] != records[1][key]:
            yield f"{key} of the record: {records[1][key]} instead of {records[0][key]}"
    if (whole / "metrics.csv").read_bytes() != (resumed / "metrics.csv").read_bytes():
        yield "metrics.csv differs"
    best = [torch.load(folder / "best.ckpt", weights_only=True)["state_dict"] for folder in (whole, resumed)]
    if best[0].keys() != best[1].keys():
        yield "best.ckpt holds other parameters"
    elif wrong := [name for name, value in best[0].items() if not _same_bits(value, best[1][name])]:
        yield f"{len(wrong)} weights of best.ckpt differ, the first is {wrong[0]}"
    names = [{name for name in os.listdir(folder) if not name.startswith(OF_ATTEMPTS)} for folder in (whole, resumed)]
    if names[0] != names[1]:
        yield f"the run folder has {sorted(names[1])} instead of {sorted(names[0])}"


def _same_bits(one: Any, other: Any) -> bool:
    return one.shape == other.shape and one.numpy().tobytes() == other.numpy().tobytes()


def _statuses(out: Path) -> Iterator[dict[str, Any]]:
    for file in out.glob("*/*/*/status.json"):
        try:
            yield json.loads(file.read_text())
        except (OSError, ValueError):
            continue


def _trains(out: Path, began: float) -> bool:
    """Return whether an attempt that began after a time trains already, by its status file."""
    return any(status["began"] >= began and status["updated"] > status["began"] for status in _statuses(out))


def _phase(out: Path, began: float) -> Phase:
    if not _trains(out, began):
        return "start-up"
    if _is_writing(out):
        return "writing"
    return "end" if all(status["step"] == status["total"] for status in _statuses(out)) else "training"


def _is_writing(out: Path) -> bool:
    """Return whether a checkpoint is being written or moved to its place."""
    return any(
        name.startswith((".last.", ".best.ckpt.")) or name == "last.partial"
        for folder in out.glob("*/*/*")
        for name in _names(folder)
    )


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _members(group: int, out: Path) -> Iterator[int]:
    """Yield the processes that have not ended and belong to a process group, or run a cell that was launched there."""
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            state, _, found = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[:3]
            words = Path(f"/proc/{entry}/cmdline").read_bytes()
        except OSError:
            continue
        if state not in "ZX" and (int(found) == group or os.fsencode(out / ".launches") in words):
            yield int(entry)


def _chosen(victim: Victim, first: int, members: Sequence[int], draw: random.Random) -> Sequence[int]:
    if victim == "all":
        return [first, *members]
    return [draw.choice(members) if victim == "child" else first]


def _tail(out: Path) -> str:
    log = out.with_suffix(".log")
    return " ".join(log.read_text(errors="replace").split())[-600:] if log.exists() else "no output"


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text)


def _import_process() -> Any:
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    import killed_process

    return killed_process


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="kills of each scenario (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments and the victims (default: 0)")
    parser.add_argument("--only", default="", help="run the scenarios whose names contain this text")
    parser.add_argument("--log", type=Path, help="markdown file for the results; a line a kill goes to the terminal")
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="kill-") as folder:
        os.environ["SSM_DATA_CACHE"] = f"{folder}/cache"
        harness = Harness(Path(folder) / "work", lambda line: print(line, flush=True))
        results = []
        for scenario in LONG:
            if args.only in scenario.name:
                results.append(harness.kill(scenario, args.kills, args.seed))
                if args.log:
                    args.log.write_text(_report(results, argv))
    return 1 if any(result.findings for result in results) else 0


def _report(results: Sequence[Result], argv: Sequence[str] | None) -> str:
    from ssm_bench.provenance import code_version

    words = shlex.join(["uv", "run", "python", "tests/robustness/kill.py", *(sys.argv[1:] if argv is None else argv)])
    lines = [
        "# Runs that were killed and started again",
        "",
        f"`{words}`, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"commit {code_version()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        "",
        "Each run was killed with SIGKILL at random moments and started again until it was done. Its record, "
        "metrics.csv, weights and files were compared with those of an undisturbed run, bit for bit.",
        "",
        "| scenario | kills | at start-up | in training | while writing | at the end | all / first / child | runs "
        "| findings |",
        "| :-- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for result in results:
        phases = " | ".join(str(result.phases[phase]) for phase in ("start-up", "training", "writing", "end"))
        victims = " / ".join(str(result.victims[victim]) for victim in ("all", "first", "child"))
        lines.append(
            f"| {result.scenario.name} | {result.kills} | {phases} | {victims} | {result.runs} "
            f"| {len(result.findings)} |"
        )
    findings = [f"- {result.scenario.name}: {finding}" for result in results for finding in result.findings]
    lines += ["", "## Findings", "", *(findings or ["None."])]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
