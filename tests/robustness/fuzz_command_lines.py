"""Target of the fuzz harness: command lines. Nothing is trained, because a plan is made and not carried out."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import io
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch  # noqa: F401  # a plan without --scale imports it, which takes longer than a case may
import yaml
from fuzz import SilentError
from mutation import EDGES, mutated_list, mutated_text
from ssm_bench import catalog
from ssm_bench.cli import VERBS, main
from ssm_bench.cli import run as run_verb
from ssm_bench.plan import Cell
from ssm_bench.recipe import as_dict

MODELS = ("s4d", "s4d-lin", "s4", "s5", "lru", "dss-exp")
TASKS = ("listops", "text", "image")
#: Overrides with the value that they mean.
OVERRIDES: tuple[tuple[str, str, Any], ...] = (
    ("optimizer.lr", "0.5", 0.5),
    ("optimizer.lr", "1e-2", 0.01),
    ("optimizer.lr", "3", 3.0),
    ("optimizer.weight_decay", "0", 0.0),
    ("optimizer.name", "sgd", "sgd"),
    ("optimizer.betas", "[0.8,0.9]", [0.8, 0.9]),
    ("trainer.epochs", "7", 7),
    ("trainer.batch_size", "6", 6),
    ("trainer.bucket", "true", True),
    ("trainer.gradient_clip", "1.5", 1.5),
    ("trainer.gradient_clip", "null", None),
    ("trainer.precision", "bf16", "bf16"),
    ("trainer.precision", "16", "16"),
    ("model.d_model", "24", 24),
    ("model.dropout", "0.25", 0.25),
    ("model.norm", "batch", "batch"),
    ("model.prenorm", "True", True),
    ("data.limit", "{train:320,val:64,test:64}", {"train": 320, "val": 64, "test": 64}),
    ("data.miniature", "true", True),
    ("scheduler.name", "constant", "constant"),
    ("scheduler.warmup_steps", "5", 5),
    ("must_beat_chance", "true", True),
)
#: Words that change how a plan is carried out, with the field of the runtime and its value.
RUNTIME: tuple[tuple[str, str, Any], ...] = (
    ("loader_workers", "2", 2),
    ("devices", "2", 2),
    ("accelerator", "cpu", "cpu"),
    ("checkpoint_minutes", "0", 0.0),
    ("logger", "wandb", "wandb"),
)
#: Words of a hostile or a hasty user.
JUNK = (
    *(
        "--",
        "-",
        "-x",
        "",
        " ",
        "=",
        "key=",
        "=1",
        "++optimizer.lr=0.5",
        "+optimizer.lr=0.5",
        "~optimizer.lr",
        "~model",
    ),
    *(
        "optimizer.lr 0.5",
        "optimizer.lr",
        "0.5",
        "scale=paper",
        "task=image",
        "model=s4d-lin",
        "optimizer=sgd",
        "seed=x",
    ),
    *(
        "trainer=null",
        "model.name=s4",
        "data.name=text",
        "optimizer.lr=1,2",
        "optimizer.lr=range(1,10000000)",
        "listops",
    ),
    *(
        "optimizer.lr=${oc.env:HOME}",
        "optimizer.lr=${seed}",
        "optimizer.lr=???",
        "optimizer..lr=1",
        ".lr=1",
        "optimizer.=1",
    ),
    *(
        "optimizer.lr.x=1",
        "a@b=c",
        "optimizer.lr='0.5'",
        'model.norm="batch"',
        "model.norm=ba\\tch",
        "optimizer.lr=0.5 ",
        "x" * 5000,
    ),
    *(
        "optimizer.lr=" + "[" * 300,
        "model.lr={A:0.1",
        "seed=1",
        "seed=-1",
        "--seed=1",
        "--seed",
        "--scale=mini",
        "--scale",
    ),
    *("--help", "--model=s4", "--task=text", "--out=~/runs", "--out=", "--out=~nouser/x", "--dry-run=1", "--workers=0"),
    *(
        "--workers=x",
        "--data=/nowhere",
        "--slurm=nowhere",
        "--sweep=1",
        "\0",
        "optimizer.lr=\0",
        "é=1",
        "optimizer.lr=１",
        "s4@v9",
    ),
    *(
        "s4@",
        "@",
        "mine.py:Layer",
        ".py:",
        "/etc/passwd",
        "../../x",
        "trainer.epochs=1e20",
        "trainer.epochs=7.0",
        "devices=0",
    ),
    *("--model", "s4d", "--task", "--sweep", "--dry-run", "--no-dry-run", "--mod", "-m", "@file", "lra", "bench"),
)
_read = yaml.load
_read_text = functools.lru_cache(maxsize=512)(yaml.load)


def _read_once(stream: Any, Loader: Any) -> Any:
    """Read a text of YAML once; Hydra reads streams."""
    return (_read_text if isinstance(stream, str) else _read)(stream, Loader)


class Plan(NamedTuple):
    """What a command line came to: the options, and the cells of a plan if it makes one."""

    options: dict[str, Any]
    cells: list[Cell]

    def facts(self) -> tuple[Any, ...]:
        cells = [(cell.name, cell.hash, cell.runtime, cell.overrides, cell.sweep) for cell in self.cells]
        return self.options, cells


class Line(NamedTuple):
    """A command line. ``meaning`` says what its words mean; it is None if the line was mutated."""

    words: list[str]
    meaning: dict[str, Any] | None


class CommandLines:
    """Command lines. Of an accepted one every word counts.

    The plan of a line that was generated has just the cells, values and options that its words name. If the line was
    mutated, leaving out any one of its words changes the plan, or the line is refused; of several words for one key,
    the last one counts.
    """

    name: ClassVar[str] = "command lines"
    refusals: ClassVar[tuple[type[BaseException], ...]] = ()

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        (folder / "mine.py").write_text("from torch import nn\n\nclass Layer(nn.Module): ...\n")

    def case(self, draw: random.Random) -> Line:
        words, meaning = self._line(draw) if draw.random() < 0.85 else self._verb(draw)
        if draw.random() < 0.3:
            return Line(words, meaning)
        for _ in range(draw.choice((1, 1, 2, 3))):
            words = self._mutated(words, draw)
        return Line(words, None)

    def _line(self, draw: random.Random) -> tuple[list[str], dict[str, Any] | None]:
        models = draw.sample(MODELS, draw.choice((1, 1, 1, 2)))
        tasks = draw.sample(TASKS, draw.choice((1, 1, 2, 3)))
        seeds = draw.sample(range(5), draw.choice((0, 0, 1, 2)))
        scale = draw.choice(catalog.SCALES)
        parts = [["--model", *models], ["--task", *tasks], ["--scale", scale]]
        if seeds:
            parts.append(["--seed", *map(str, seeds)])
        values: dict[str, tuple[str, Any]] = {}
        for key, text, value in draw.sample(OVERRIDES, draw.choice((0, 1, 1, 2, 3))):
            values[key] = text, value
        runtime: dict[str, tuple[str, Any]] = {}
        for key, text, value in draw.sample(RUNTIME, draw.choice((0, 0, 1, 2))):
            runtime[key] = text, value
        parts += [[f"{key}={text}"] for key, (text, _) in (values | runtime).items()]
        options: dict[str, Any] = {}
        for flag, words, value in (
            ("dry_run", ["--dry-run"], True),
            ("out", ["--out", "/tmp/some runs"], Path("/tmp/some runs")),
            ("workers", ["--workers", "2"], 2),
            ("data", ["--data", str(self.folder)], self.folder),
        ):
            if draw.random() < 0.15:
                parts.append(words)
                options[flag] = value
        draw.shuffle(parts)
        meaning = {
            "models": models,
            "tasks": tasks,
            "seeds": seeds,
            "scale": scale,
            "values": {key: value for key, (_, value) in values.items()},
            "runtime": {key: value for key, (_, value) in runtime.items()},
            "options": options,
        }
        return ["lra", *(word for part in parts for word in part)], meaning

    @staticmethod
    def _verb(draw: random.Random) -> tuple[list[str], None]:
        verb = draw.choice((*VERBS, "scifar", "LRA", "lr", "sci-far"))
        options = ["lra", "--model", "s4d", "--task", "listops", "--out", "runs", "--scale", "smoke", "--format", "csv"]
        return [verb, *draw.sample(options, draw.randrange(5))], None

    def _mutated(self, words: list[str], draw: random.Random) -> list[str]:
        words = list(words) or [draw.choice(JUNK)]
        at = draw.randrange(len(words))
        kind = draw.randrange(5)
        if kind == 0:
            words[at] = mutated_text(words[at], draw, draw.choice(JUNK))
        elif kind == 1:
            words.insert(draw.randrange(len(words) + 1), draw.choice(JUNK))
        elif kind == 2 and "=" in words[at]:
            words[at] = words[at].split("=")[0] + "=" + draw.choice(EDGES)
        elif kind == 3:
            key = draw.choice((*OVERRIDES, *RUNTIME))[0]
            words.insert(draw.randrange(len(words) + 1), f"{key}={draw.choice(EDGES)}")
        else:
            words = mutated_list(words, draw, self._line(draw)[0])
        return words

    def run(self, case: Line, draw: random.Random) -> bool:
        plan = planned(case.words)
        if plan is None:
            return False
        if case.meaning is not None:
            self._check_meaning(plan, case.meaning)
            return True
        # Who asks for help gets it, whatever else the line says.
        if not case.words or {"help", "overview"} & plan.options.keys():
            return True
        at = draw.randrange(len(case.words))
        word = case.words[at]
        # Of several words for one key the last counts, as in Hydra.
        others = case.words[:at] + case.words[at + 1 :]
        later = any(other.startswith(word.split("=")[0] + "=") for other in case.words[at + 1 :])
        again = ("=" in word and (later or word in others)) or (word in ("--dry-run", "--sweep") and word in others)
        # A list may stand again if it holds every word of the one before.
        lists = [option for option in ("--model", "--task", "--seed") if _count(case.words, option) > 1]
        if word != "--" and not again and not lists and not _says_what_holds(word, plan):
            without = planned(others)
            if without is not None and without.facts() == plan.facts():
                raise SilentError(f"a word without effect: {word[:60]!r}")
        return True

    @staticmethod
    def _check_meaning(plan: Plan, meaning: dict[str, Any]) -> None:
        recipes = [as_dict(cell.recipe) for cell in plan.cells]
        found = sorted((r["model"]["name"], r["task"], r["seed"] if meaning["seeds"] else None) for r in recipes)
        wanted = sorted(
            (m, t, s) for m in meaning["models"] for t in meaning["tasks"] for s in meaning["seeds"] or [None]
        )
        if found != wanted:
            raise SilentError(f"other cells: {found} instead of {wanted}")
        for cell, recipe in zip(plan.cells, recipes, strict=True):
            if recipe["scale"] != meaning["scale"]:
                raise SilentError("another scale")
            for key, value in meaning["values"].items():
                node: Any = recipe
                for part in key.split("."):
                    node = node[part]
                if node != value:
                    raise SilentError(f"another value of {key}: {node!r} instead of {value!r}")
            given = dataclasses.asdict(cell.runtime)
            defaults = {f.name: f.default for f in dataclasses.fields(cell.runtime)}
            if given != defaults | meaning["runtime"]:
                raise SilentError(f"another runtime: {given}")
            _check_rest(cell, meaning)
        for key, value in meaning["options"].items():
            if plan.options[key] != value:
                raise SilentError(f"another option: {key}")


def _check_rest(cell: Cell, meaning: dict[str, Any]) -> None:
    """Check that nothing of a recipe has changed but what the words say."""
    recipe = cell.recipe
    plain = _flat(_plain(recipe.task, recipe.model_name, recipe.scale, recipe.seed))
    now = _flat(as_dict(recipe))
    for key in plain.keys() | now.keys():
        if plain.get(key) != now.get(key) and not any(key == k or key.startswith(f"{k}.") for k in meaning["values"]):
            raise SilentError(f"a value that no word names has changed: {key}")


@functools.lru_cache(maxsize=4096)
def _plain(task: str, model: str, scale: str, seed: int) -> dict[str, Any]:
    plan = planned(["lra", "--model", model, "--task", task, "--scale", scale, "--seed", str(seed)])
    assert plan is not None
    return as_dict(plan.cells[0].recipe)


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _says_what_holds(word: str, plan: Plan) -> bool:
    """Return whether a word names a value that the plan would have without it, as ``devices=1`` does."""
    key = word.split("=")[0]
    for cell in plan.cells:
        default = {f.name: f.default for f in dataclasses.fields(cell.runtime)} | {"seed": cell.recipe.seed}
        now = dataclasses.asdict(cell.runtime) | {"seed": cell.recipe.seed}
        if key not in default or default[key] != now[key]:
            return False
    return bool(plan.cells)


def planned(words: Sequence[str]) -> Plan | None:
    """Return what a command line comes to, or None if it is refused with a sentence.

    Raises:
        SilentError: it is refused without a sentence, or with a traceback.
    """
    got: list[Plan] = []
    text, errors = io.StringIO(), io.StringIO()
    with _patched(got), contextlib.redirect_stdout(text), contextlib.redirect_stderr(errors):
        try:
            status = main(words)
        except SystemExit as end:
            # argparse ends so after --help.
            status = 0 if end.code in (0, None) else 2
            got.append(Plan({"help": text.getvalue()}, []))
    if status not in (0, 1, 2) or "Traceback" in errors.getvalue():
        raise SilentError(f"exit status {status}")
    if status:
        if not errors.getvalue().startswith("bench: ") or len(errors.getvalue()) < 20:
            raise SilentError(f"refused without a sentence: {errors.getvalue()!r}")
        return None
    return got[-1] if got else Plan({"overview": text.getvalue()}, [])


@contextlib.contextmanager
def _patched(got: list[Plan]) -> Iterator[None]:
    """Make plans and keep them; read each text of YAML once; let no verb do its work."""

    cells: list[Cell] = []
    make_plan, run = run_verb.make_plan, run_verb.run

    def keep(args: Any) -> int:
        skipped = ("command", "benchmark", "_given", *(("overrides",) if cells else ()))
        options = {key: value for key, value in vars(args).items() if key not in skipped}
        options["benchmark"] = getattr(getattr(args, "benchmark", None), "name", getattr(args, "benchmark", None))
        got.append(Plan(options, list(cells)))
        return 0

    def keep_plan(*args: Any, **options: Any) -> list[Cell]:
        cells.extend(make_plan(*args, **options))
        return cells

    with contextlib.ExitStack() as stack:
        replaced: list[tuple[Any, str, Any]] = [
            (catalog.yaml, "load", _read_once),
            (run_verb, "run", lambda args: run(args) or keep(args)),
            (run_verb, "make_plan", keep_plan),
            (run_verb, "_check_writable", lambda out: None),
            *((run_verb, name, lambda *args: 0) for name in ("_carry_out", "_dry_run", "_submit")),
            *((importlib.import_module(f"ssm_bench.cli.{verb}"), "run", keep) for verb in VERBS),
        ]
        for module, name, function in replaced:
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, function)
        yield


TARGETS: tuple[type[Any], ...] = (CommandLines,)


def _count(words: Sequence[str], option: str) -> int:
    return sum(word == option or word.startswith(f"{option}=") for word in words)
