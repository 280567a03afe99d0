"""A process is known by its id and its start: an id that was given again is another process."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ssm_bench import process_identity
from ssm_bench.process_identity import is_running, own_start, start_of

HERE = socket.gethostname()


def test_a_process_runs_until_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        start = start_of(process.pid)
        assert start
        assert is_running(HERE, process.pid, start)
        process.communicate(b"\n")
    assert start_of(process.pid) == ""
    assert not is_running(HERE, process.pid, start)


def test_a_process_that_its_parent_has_not_asked_about_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert start_of(process.pid) == "", "a zombie"
    process.wait()


def test_an_id_that_was_given_again_is_a_stranger() -> None:
    start = own_start()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        assert start_of(stranger.pid) != start
        assert not is_running(HERE, stranger.pid, start)
        assert not is_running(HERE, stranger.pid, ""), "nobody noted when it started"
        stranger.communicate(b"\n")


def test_a_process_of_another_machine_counts_as_gone() -> None:
    assert is_running(HERE, os.getpid(), own_start())
    assert not is_running(f"not-{HERE}", os.getpid(), own_start())


def test_the_same_id_and_time_after_another_boot_is_a_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    start = own_start()
    monkeypatch.setattr(process_identity, "_boot_id", lambda: "another")
    assert not is_running(HERE, os.getpid(), start)


def test_without_proc_ps_tells_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """macOS has no /proc."""
    ps = tmp_path / "ps"
    ps.write_text('#!/bin/sh\n[ "$4" = 42 ] && echo "Sat Nov 28 12:00:00 2026    "\n')
    ps.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(process_identity, "_BOOT_ID", tmp_path / "missing")
    assert start_of(42) == "Sat Nov 28 12:00:00 2026"
    assert start_of(43) == ""
