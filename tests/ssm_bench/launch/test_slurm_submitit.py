"""submitit is called in one module: its private members, its errors, and the environment that sbatch sees."""

import importlib.metadata
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ssm_bench
from ssm_bench.launch.slurm_submitit import RefusedError, job_script, submit

PACKAGE = Path(ssm_bench.__file__).parent


def test_the_private_members_were_checked_with_this_version() -> None:
    """If this fails, look at ``job_script`` with the new version, run the tests of SLURM, and name the version here."""
    assert importlib.metadata.version("submitit").split(".")[:2] == ["1", "5"]


def test_no_other_module_calls_submitit() -> None:
    users = [
        file.name
        for file in PACKAGE.rglob("*.py")
        if "import submitit" in (text := file.read_text()) or "from submitit" in text
    ]
    assert users == ["slurm_submitit.py"]


@pytest.fixture
def sbatch(work: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put shell lines in the place of sbatch. It writes its environment and its job script into the folder ``seen``."""

    def put(lines: str) -> Path:
        seen, folder = work / "seen", work / "bin"
        folder.mkdir()
        seen.mkdir()
        for name, text in (("sbatch", f"env >{seen}/environment\ncp $1 {seen}/script\n{lines}"), ("srun", "")):
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return seen

    return put


def test_the_script_that_is_shown_is_the_one_that_is_submitted(sbatch: Any, work: Path) -> None:
    seen = sbatch("echo Submitted batch job 12")
    parameters = {"job_name": "mine", "time": 5, "setup": ["echo hello"], "teardown": ["echo end"]}
    for count, ids in ((1, ["12"]), (3, ["12_0", "12_1", "12_2"])):
        assert submit(work / "jobs", None, parameters, print, [(n,) for n in range(count)]) == ids
        shown = job_script(work / "jobs", None, parameters, count)
        assert (seen / "script").read_text().strip() == shown.strip()
        assert subprocess.run(["bash", "-n", seen / "script"], check=False).returncode == 0


def test_a_refusal_holds_what_sbatch_said_and_prints_nothing(
    sbatch: Any, work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sbatch("echo 'sbatch: error: Invalid qos specification' >&2; exit 1")
    with pytest.raises(RefusedError, match="Invalid qos specification"):
        submit(work / "jobs", None, {}, print, [(1,)])
    assert capfd.readouterr() == ("", "")


def test_an_answer_without_a_number_is_a_refusal(sbatch: Any, work: Path) -> None:
    sbatch("echo Welcome to the cluster")
    with pytest.raises(RefusedError, match="Welcome to the cluster"):
        submit(work / "jobs", None, {}, print, [(1,)])


def test_errors_of_our_own_are_no_refusals(sbatch: Any, work: Path) -> None:
    sbatch("echo Submitted batch job 12")
    with pytest.raises(ValueError, match="wat"):
        submit(work / "jobs", None, {"wat": 1}, print, [(1,)])
    with pytest.raises(TypeError, match="pickle"):
        submit(work / "jobs", None, {}, print, [(threading.Lock(),)])


def test_a_job_inherits_nothing_of_the_job_that_submits_it(
    sbatch: Any, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = sbatch("echo Submitted batch job 12")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    for name in (
        "SLURM_JOB_ID",
        "SLURM_MEM_PER_CPU",
        "SLURM_NTASKS",
        "SRUN_CPUS_PER_TASK",
        "PMI_RANK",
        "SBATCH_ARRAY_INX",
    ):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("SBATCH_ACCOUNT", "theirs")
    monkeypatch.setenv("SBATCH_PARTITION", "slow")
    monkeypatch.setenv("SBATCH_TIMELIMIT", "1")
    monkeypatch.setenv("MINE", "7")
    before = dict(os.environ)
    submit(work / "jobs", None, {"partition": "fast", "additional_parameters": {}}, print, [(1,)])
    names = dict(line.split("=", 1) for line in (seen / "environment").read_text().splitlines() if "=" in line)
    kept = {name: value for name, value in names.items() if name.startswith(("SLURM", "SRUN", "PMI", "SBATCH"))}
    # A default for what the profile leaves open stays; SBATCH_PARTITION would override the profile.
    assert kept == {"SLURM_CONF": "/etc/slurm.conf", "SBATCH_ACCOUNT": "theirs", "SBATCH_TIMELIMIT": "1"}
    assert names["MINE"] == "7"
    assert dict(os.environ) == before


def test_outside_of_a_job_the_users_settings_of_srun_stay(
    sbatch: Any, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = sbatch("echo Submitted batch job 12")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("SLURM_CPU_BIND", "none")
    submit(work / "jobs", None, {}, print, [(1,)])
    assert "SLURM_CPU_BIND=none" in (seen / "environment").read_text()
