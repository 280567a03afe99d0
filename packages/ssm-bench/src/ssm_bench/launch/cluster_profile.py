"""A cluster profile: what jobs ask SLURM for, from a YAML file. No code depends on one cluster."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from ssm_bench.catalog import benchmarks_root
from ssm_bench.errors import UserError, unknown


@dataclass(frozen=True, kw_only=True)
class ClusterProfile:
    """What each job asks for. If a value is None, the default of the cluster applies.

    Attributes:
        partition, account, qos, constraint: as sbatch takes them.
        mail: an address to which SLURM sends a mail when an array ends or fails.
        time: limit of one job in minutes. A cell that needs longer saves its progress, requeues its job and resumes.
        grace: seconds before the limit, or before preemption, at which a job is told to save.
        gpus: number of GPUs for each process of a run; 0 on a cluster without GPUs.
        gpu: type of GPU, as the cluster names it.
        cpus: number of cores for each process of a run.
        memory: memory on each node in GB.
        parallel: largest number of cells that run at once.
        array_limit: largest number of cells in one array; None: as many as the cluster allows.
        python: the command that starts Python on a node; None: the interpreter that submits. For a container, the
            command begins with that of the container.
        setup: shell lines before the run, for instance modules to load.
        sbatch: other options of sbatch, by their long names; True for an option without a value.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    mail: str | None = None
    time: int | None = None
    grace: int = 120
    gpus: int = 1
    gpu: str | None = None
    cpus: int = 4
    memory: float | None = None
    parallel: int = 64
    array_limit: int | None = None
    python: str | None = None
    setup: tuple[str, ...] = ()
    sbatch: Mapping[str, str | bool] | None = None


def read_profile(file: Path) -> ClusterProfile:
    """Read a profile. Numbers, names and times are taken as they are written: 010 is ten, ``on`` is a name.

    Raises:
        UserError: a key or a value is wrong; the sentence names the nearest known key or the form of the value.
    """
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except UnicodeDecodeError:
        raise UserError(f"{file} is not a text file in UTF-8.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not YAML: {' '.join(str(error).split())}.") from None
    if values is None:
        return ClusterProfile()
    if not isinstance(values, dict):
        raise UserError(f"{file} must hold keys and values, such as 'partition: gpu'.")
    known: dict[str, Any] = {}
    for key, value in values.items():
        if key not in _READERS:
            raise UserError(f"{file}: {unknown('profile key', str(key), _READERS)}")
        if value is None:
            continue
        try:
            known[key] = _READERS[key](value)
        except ValueError as error:
            given = ":" if isinstance(value, dict | list) else f" is {_shown(value)};"
            raise UserError(f"{file}: {key}{given} {error}.") from None
    return ClusterProfile(**known)


def find_profile(name: str) -> Path:
    """Return the file of a profile: ``slurm/<name>.yaml`` of the current folder or of the checkout, or the path itself.

    Raises:
        UserError: there is no such profile; the sentence names the nearest known one.
    """
    if name.endswith(".yaml"):
        if not Path(name).expanduser().is_file():
            raise UserError(f"There is no profile {name}.")
        return Path(name).expanduser().resolve()
    folders = [Path("slurm").resolve(), benchmarks_root().parent / "slurm"]
    for folder in folders:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    raise unknown("cluster profile", name, {file.stem for folder in folders for file in folder.glob("*.yaml")})


class _Loader(yaml.SafeLoader):
    """Reads every plain scalar as text, except null, true and false.

    YAML 1.1 reads ``24:00:00`` as 86400, ``010`` as 8, ``1e3`` as a number and ``on`` as true.
    """

    yaml_implicit_resolvers: ClassVar[Any] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, str) or keys.count(key) > 1:
                fault = "stands twice" if isinstance(key, str) else "is no name"
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} {fault}", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("give one word or line of text")
    return value


def _count(least: int) -> Callable[[Any], int]:
    """Return the reader of an integer that must be at least ``least``."""

    def read(value: Any) -> int:
        if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,9}", value) or int(value) < least:
            raise ValueError(f"give a whole number of at least {least}")
        return int(value)

    return read


def _minutes(value: Any) -> int:
    """Read a time limit as SLURM writes it and return it in minutes, rounded up.

    SLURM reads 12:30 as minutes and seconds, but many users mean hours and minutes, so this form is refused.
    """
    text = value if isinstance(value, str) else ""
    days, separator, clock = text.rpartition("-")
    parts = clock.split(":")
    wrong = ValueError("give minutes, hours:minutes:seconds such as 24:00:00, or days-hours:minutes such as 1-12:00")
    if not all(re.fullmatch(r"[0-9]{1,9}", part) for part in (*parts, *([days] if separator else []))):
        raise wrong
    numbers = [int(part) for part in parts]
    if separator and len(numbers) <= 3:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
        seconds += 60 * minutes + 3600 * (hours + 24 * int(days))
    elif len(numbers) == 3:
        seconds = 3600 * numbers[0] + 60 * numbers[1] + numbers[2]
    elif len(numbers) == 1:
        seconds = 60 * numbers[0]
    elif len(numbers) == 2:
        raise ValueError(
            f"this may be minutes and seconds or hours and minutes. Write {text}:00 for hours and minutes, or a number "
            "of minutes"
        )
    else:
        raise wrong
    if any(number >= 60 for number in numbers[1:]) or seconds == 0:
        raise wrong
    return -(-seconds // 60)


def _gigabytes(value: Any) -> float:
    match = (
        re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)B?", value, re.IGNORECASE) if isinstance(value, str) else None
    )
    if match is None or float(match[1]) == 0:
        raise ValueError("give a number of GB, such as 64 or 64G")
    return float(match[1]) * {"K": 1024**-2, "M": 1 / 1024, "": 1.0, "G": 1.0, "T": 1024.0}[match[2].upper()]


def _lines(value: Any) -> tuple[str, ...]:
    lines = [value] if isinstance(value, str) else value
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise ValueError("give one shell line, or a list of shell lines")
    return tuple(lines)


#: Options of sbatch that the job script sets itself, so a profile must not set them.
_OURS = ("array", "dependency", "error", "job-name", "open-mode", "output", "signal")


def _options(value: Any) -> dict[str, str | bool]:
    """Read options of sbatch; an option that is null or false is left out."""
    if not isinstance(value, dict):
        raise ValueError("give options of sbatch by their long names, such as {exclude: node3, exclusive: true}")
    options: dict[str, str | bool] = {}
    for name, setting in value.items():
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
            raise ValueError(f"'{name}' is no long name of an option of sbatch, which has small letters and hyphens")
        if name in _OURS:
            raise ValueError(f"'{name}' is set by the job script; leave it out")
        if setting is None or setting is False:
            continue
        if setting is not True and not isinstance(setting, str):
            raise ValueError(f"'{name}' must be one value, or true for an option without a value")
        if name in ("exclude", "nodelist", "nodefile") and ":" in str(setting):
            raise ValueError(f"'{name}: {setting}' names no nodes; write names such as node[1-3]")
        options[name] = setting
    return options


def _shown(value: Any) -> str:
    return "true" if value is True else "false" if value is False else f"'{value}'"


_READERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("partition", "account", "qos", "constraint", "mail", "gpu", "python"), _text),
    **dict.fromkeys(("grace", "cpus", "parallel", "array_limit"), _count(1)),
    "gpus": _count(0),
    "time": _minutes,
    "memory": _gigabytes,
    "setup": _lines,
    "sbatch": _options,
}
