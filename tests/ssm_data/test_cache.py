"""Prepared arrays: whole or absent, whatever happens to the preparation."""

import contextlib
import errno
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ssm_data import DataError, cache


def write(writer):
    writer.array("numbers", np.arange(10))
    writer.meta["note"] = "ten"


def test_round_trip(tmp_path):
    entry = cache.build(tmp_path / "a", {}, write)
    found = cache.find(tmp_path / "a")
    assert found == entry
    assert found.meta == {"note": "ten"}
    numbers = found.array("numbers")
    assert isinstance(numbers, np.memmap)
    assert numbers.tolist() == list(range(10))
    assert not numbers.flags.writeable
    assert found.verify() == []


def test_fingerprint_is_that_of_the_contents(tmp_path):
    first, same = (cache.build(tmp_path / name, {"name": name}, write) for name in "ab")
    other = cache.build(tmp_path / "c", {}, lambda writer: writer.array("numbers", np.arange(11)))
    assert first.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize("damage", ["truncate", "remove", "meta"])
def test_damaged_entry_is_built_anew(tmp_path, damage):
    cache.build(tmp_path / "a", {}, write)
    if damage == "truncate":
        os.truncate(tmp_path / "a" / "numbers.npy", 100)
    elif damage == "remove":
        (tmp_path / "a" / "numbers.npy").unlink()
    else:
        (tmp_path / "a" / "meta.json").write_text("{")
    assert cache.find(tmp_path / "a") is None
    assert cache.build(tmp_path / "a", {}, write).array("numbers").tolist() == list(range(10))


def test_verify_finds_a_flipped_bit(tmp_path):
    entry = cache.build(tmp_path / "a", {}, write)
    path = tmp_path / "a" / "numbers.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (sentence,) = entry.verify()
    assert sentence.startswith(f"{path} does not have its recorded checksum; delete the folder")


def test_failed_preparation_leaves_nothing(tmp_path):
    def fail(writer):
        writer.array("numbers", np.arange(10))
        raise DataError("no source.")

    with pytest.raises(DataError, match="no source"):
        cache.build(tmp_path / "a", {}, fail)
    assert cache.find(tmp_path / "a") is None
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_full_disk_is_reported(tmp_path):
    def full(writer):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DataError, match=r"No space left on device.*SSM_DATA_CACHE"):
        cache.build(tmp_path / "a", {}, full)
    assert cache.build(tmp_path / "a", {}, write).meta == {"note": "ten"}


def test_a_killed_preparation_can_be_repeated(tmp_path):
    code = (
        "import sys, time, pathlib, numpy as np\n"
        "from ssm_data import cache\n"
        "def write(writer):\n"
        "    writer.array('numbers', np.arange(5))\n"
        "    print('half', flush=True)\n"
        "    time.sleep(60)\n"
        f"cache.build(pathlib.Path({str(tmp_path / 'a')!r}), {{}}, write)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / "a.partial").exists()
    assert cache.find(tmp_path / "a") is None
    assert cache.build(tmp_path / "a", {}, write).array("numbers").tolist() == list(range(10))
    assert not (tmp_path / "a.partial").exists()


def build_slowly(folder, log):
    def slow(writer):
        with log.open("a") as file:
            file.write("built\n")
        time.sleep(0.3)
        write(writer)

    assert cache.build(folder, {}, slow).meta == {"note": "ten"}


def test_one_of_several_preparations_does_the_work(tmp_path):
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    processes = [context.Process(target=build_slowly, args=(tmp_path / "a", log)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert log.read_text() == "built\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored["meta"].update(note="eleven"),
        lambda stored: stored.update(meta=None),
        lambda stored: stored.update(more=3),
        lambda stored: stored.update(files=[1, 2]),
        lambda stored: stored.update(files={}),
        lambda stored: stored["files"].update({"numbers.npy": "x"}),
        lambda stored: stored.pop("digest"),
        lambda stored: stored.update(key={"other": 1}),
    ],
)
def test_a_changed_note_makes_an_entry_incomplete(tmp_path, change):
    cache.build(tmp_path / "a", {"option": 1}, write)
    stored = json.loads((tmp_path / "a" / "meta.json").read_text())
    change(stored)
    (tmp_path / "a" / "meta.json").write_text(json.dumps(stored))
    assert cache.find(tmp_path / "a") is None
    assert cache.build(tmp_path / "a", {"option": 1}, write).meta == {"note": "ten"}


@pytest.mark.parametrize(
    "text", ["[1]", "3", "null", "[" * 100_000, "{}", '{"files": 3, "digest": 4, "key": 1, "meta": 2}']
)
def test_notes_of_another_form_make_an_entry_incomplete(tmp_path, text):
    cache.build(tmp_path / "a", {}, write)
    (tmp_path / "a" / "meta.json").write_text(text)
    assert cache.find(tmp_path / "a") is None


def test_mutated_arrays_are_opened_or_refused(tmp_path):
    """Bytes of the header are changed at random, the size is the same: no error but DataError."""
    entry = cache.build(tmp_path / "a", {}, write)
    path = tmp_path / "a" / "numbers.npy"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, 128, 2):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(DataError):
            entry.array("numbers")
    path.write_bytes(whole[:6] + b"\xff" + whole[7:])
    with pytest.raises(DataError, match=rf"{path} is damaged .*delete the folder {tmp_path / 'a'} and prepare"):
        entry.array("numbers")


def test_a_small_array_that_is_not_what_was_stored_is_refused(tmp_path):
    entry = cache.build(tmp_path / "a", {}, write)
    path = tmp_path / "a" / "numbers.npy"
    path.write_bytes(path.read_bytes().replace(b"(10,), ", b"(2,5), "))
    with pytest.raises(DataError, match="checksum differs"):
        entry.array("numbers")


def test_a_size_that_is_no_number_makes_an_entry_incomplete(tmp_path):
    cache.build(tmp_path / "a", {}, write)
    note = tmp_path / "a" / "meta.json"
    note.write_text(re.sub(r"\[\s*\d+,", "[1e999,", note.read_text(), count=1))
    assert "1e999" in note.read_text()
    assert cache.find(tmp_path / "a") is None
