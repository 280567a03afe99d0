"""The run folder: what killed processes leave in it."""

import os
import time
from pathlib import Path

from ssm_bench import run_folder


def test_halves_of_files_are_deleted_by_the_next_process_that_holds_the_folder(tmp_path: Path) -> None:
    halves = [".last.partial.4711", ".best.ckpt.12", ".metrics.csv.7", ".record.json.99999", "last.partial"]
    kept = ["last.ckpt", "previous.ckpt", "best.ckpt", "metrics.csv", "last.ckpt.damaged", "log.txt"]
    for name in (*halves, *kept):
        (tmp_path / name).touch()
    with run_folder.hold(tmp_path):
        assert sorted(os.listdir(tmp_path)) == sorted([*kept, run_folder.LOCK])


def test_the_half_of_a_status_file_may_belong_to_a_process_that_writes_it_now(tmp_path: Path) -> None:
    now, old = tmp_path / ".status.json.4711", tmp_path / ".status.json.12"
    now.touch()
    old.touch()
    hour_ago = time.time() - 3600
    os.utime(old, (hour_ago, hour_ago))
    with run_folder.hold(tmp_path):
        assert now.exists()
        assert not old.exists()
