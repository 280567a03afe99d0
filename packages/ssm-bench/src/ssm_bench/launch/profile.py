"""A cluster profile: what jobs ask SLURM for, from a YAML file; nothing about a site stands in code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from ssm_bench.catalog import benchmarks_root
from ssm_bench.errors import UserError, unknown
from ssm_bench.recipe import build


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What each job asks for; what is null is left to the cluster.

    partition, account, qos, constraint: as sbatch takes them.
    mail: an address that is told when an array ends or fails.
    time: limit of one job in minutes. A cell that needs longer saves, requeues itself and goes on.
    grace: seconds before the limit, or before preemption, at which a job is told to save.
    gpus: for each process of a run; 0 on a cluster without.
    gpu: type of GPU, as the cluster names it.
    cpus: for each process of a run.
    memory: GB on each node.
    parallel: how many cells run at once.
    array_limit: how many cells one array may hold; null: as many as the cluster says.
    python: what starts Python on a node; null: the interpreter that submits. For a container its command in front.
    setup: shell lines before the run, for instance modules to load.
    sbatch: any other options of sbatch, by their long names.
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
    sbatch: dict[str, str | int | bool] | None = None

    def __post_init__(self) -> None:
        for name in ("time", "grace", "cpus", "parallel", "array_limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1.")
        if self.gpus < 0:
            raise ValueError(f"gpus is {self.gpus}; it must not be negative.")


def read_profile(file: Path) -> Profile:
    """The profile in a file.

    Raises:
        UserError: a key or a value is wrong; the sentence names the nearest known one.
    """
    try:
        values = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(values, dict):
        raise UserError(f"{file} must hold keys and values, such as 'partition: gpu'.")
    try:
        return build(Profile, values, "", "profile key")
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def find_profile(name: str) -> Path:
    """The file of a profile: ``slurm/<name>.yaml`` of the current folder or of the checkout, or the path itself.

    Raises:
        UserError: there is none; the sentence names the nearest known one.
    """
    if name.endswith(".yaml"):
        if not Path(name).is_file():
            raise UserError(f"There is no profile {name}.")
        return Path(name).resolve()
    folders = [Path("slurm").resolve(), benchmarks_root().parent / "slurm"]
    for folder in folders:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    raise unknown("cluster profile", name, {file.stem for folder in folders for file in folder.glob("*.yaml")})
