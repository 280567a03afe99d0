"""The end of a job script requeues its job after exactly the exit statuses that ask for it."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from ssm_bench.launch.slurm_requeue import REQUEUE
from ssm_bench.launch.supervisor import AGAIN, DONE, FAILED


@pytest.mark.parametrize(
    ("status", "requeued"),
    [
        (DONE, False),
        (FAILED, False),
        (AGAIN, True),
        (128 + signal.SIGUSR2, True),
        (128 + signal.SIGTERM, True),
        (128 + signal.SIGKILL, False),
        (128 + signal.SIGSEGV, False),
    ],
)
def test_the_exit_status_of_srun_decides(status: int, requeued: bool, tmp_path: Path) -> None:
    for name, line in (("scontrol", f'echo "$@" >>{tmp_path}/said'), ("sleep", "")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "12"}
    script = f"sh -c 'exit {status}'\n{REQUEUE}"
    ended = subprocess.run(["bash", "-c", script], env=environment, check=False)
    assert ended.returncode == status
    said = (tmp_path / "said").read_text() if (tmp_path / "said").exists() else ""
    assert said == ("requeue 12\n" if requeued else "")
