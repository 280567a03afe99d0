"""``bench data``: verify and show; and whatever goes wrong in get is a sentence, status 1, and no harm to the cache."""

import hashlib
import io
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import wave

import numpy as np
import pytest
import yaml
from PIL import Image as Picture
from ssm_bench import catalog
from ssm_bench.cli import main
from ssm_data.datasets import cifar10, pathfinder, text

RNG = np.random.default_rng(0)
TASKS = {
    "listops": {"name": "listops", "limit": {"train": 600, "val": 60, "test": 60}},
    "image": {"name": "image"},
    "text": {"name": "text"},
    "pathfinder": {"name": "pathfinder"},
    "music": {"name": "audio-folder", "folder": "music", "l_max": 500},
}


@pytest.fixture
def benchmark_folder(tmp_path, monkeypatch):
    """Long Range Arena with small data, and a task on a folder of sounds."""
    root = tmp_path / "benchmarks"
    shutil.copytree(catalog.benchmarks_root() / "lra", root / "lra")
    meta = yaml.safe_load((root / "lra" / "benchmark.yaml").read_text())
    (root / "lra" / "benchmark.yaml").write_text(yaml.safe_dump(meta | {"tasks": list(TASKS)}))
    for task, data in TASKS.items():
        kind = task if task in meta["tasks"] else "image"
        declared = yaml.safe_load((catalog.benchmarks_root() / "lra" / f"{kind}.yaml").read_text())
        (root / "lra" / f"{task}.yaml").write_text(yaml.safe_dump(declared | {"data": data}))
    monkeypatch.setattr(catalog, "benchmarks_root", lambda: root)
    return root


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own, in which ListOps is prepared."""
    monkeypatch.setenv("SSM_DATA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Small originals of all tasks, whose checksums are published."""
    root = tmp_path / "data"
    batches = {}
    for name in cifar10.MD5:
        content = {b"data": RNG.integers(0, 256, (20, 3072), dtype=np.uint8), b"labels": list(range(10)) * 2}
        batches[name] = pickle.dumps(content, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    write_archive(root / "cifar-10-python.tar.gz", {f"{cifar10.FOLDER}/{name}": batches[name] for name in batches})
    monkeypatch.setattr(cifar10, "BATCH", 20)
    monkeypatch.setattr(cifar10, "MD5", {name: hashlib.md5(content).hexdigest() for name, content in batches.items()})
    published = {}
    for split in ("train", "test"):
        reviews = []
        for label, name in enumerate(text.CLASSES):
            folder = root / "aclImdb" / split / name
            folder.mkdir(parents=True)
            for number in range(10):
                review = f"{name} review {number} of {split}"
                (folder / f"{number}_1.txt").write_text(review)
                reviews.append((label, review.encode()))
        joined = b"".join(bytes([label]) + review + b"\0" for label, review in sorted(reviews))
        published[split] = hashlib.sha256(joined).hexdigest()
    monkeypatch.setattr(text, "PUBLISHED", published)
    release = root / "pathfinder32" / pathfinder.DIFFICULTY
    (release / "imgs" / "0").mkdir(parents=True)
    (release / "metadata").mkdir()
    lines = []
    for number in range(20):
        picture = Picture.fromarray(RNG.integers(0, 256, (32, 32), dtype=np.uint8))
        picture.save(release / "imgs" / "0" / f"sample_{number}.png")
        lines.append(f"imgs/0 sample_{number}.png 0 {number % 2} 1\n")
    (release / "metadata" / "0.npy").write_text("".join(lines))
    monkeypatch.setattr(pathfinder, "IMAGES", 20)
    (root / "music").mkdir()
    for number in range(20):
        with wave.open(str(root / "music" / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(RNG.integers(-3000, 3000, 1200, dtype=np.int16).tobytes())
    return root


def write_archive(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def read_archive(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def change_a_batch(path):
    members = read_archive(path)
    members[f"{cifar10.FOLDER}/data_batch_2"] += b"x"
    write_archive(path, members)


def add_a_member_outside(path):
    write_archive(path, {"../../outside.txt": b"evil", **read_archive(path)})


def make_no_text(path):
    path.write_bytes(b"caf\xe9")


def make_no_file_of_its_kind(path):
    path.write_bytes(b"<html>not found</html>")


ARCHIVE, PNG = "cifar-10-python.tar.gz", f"pathfinder32/{pathfinder.DIFFICULTY}/imgs/0/sample_3.png"
FAULTS = {
    "truncated archive": ("image", ARCHIVE, truncate, "truncated or broken"),
    "wrong checksum": ("image", ARCHIVE, change_a_batch, "data_batch_2"),
    "member outside": ("image", ARCHIVE, add_a_member_outside, "unsafe member '../../outside.txt'"),
    "not UTF-8": ("text", "aclImdb/test/pos/3_1.txt", make_no_text, "test/pos/3_1.txt"),
    "broken PNG": ("pathfinder", PNG, make_no_file_of_its_kind, "sample_3.png cannot be read"),
    "truncated PNG": ("pathfinder", PNG, truncate, "sample_3.png cannot be read"),
    "broken WAV": ("music", "music/7.wav", make_no_file_of_its_kind, "7.wav cannot be read as sound"),
}


def command(action, task, data):
    return ["data", action, "lra", "--task", task, "--data", str(data)]


def whole_entries(cache):
    return {path.parent for path in cache.rglob("meta.json") if not path.parent.name.endswith(".partial")}


@pytest.mark.usefixtures("benchmark_folder")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_a_sentence_and_a_rerun_succeeds(fault, cache, data, tmp_path, capsys):
    task, name, damage, sentence = FAULTS[fault]
    assert main(command("get", "listops", data)) == 0
    before = whole_entries(cache)
    path = data / name
    original = path.read_bytes()
    damage(path)
    capsys.readouterr()
    assert main(command("get", task, data)) == 1
    said = capsys.readouterr().out
    assert sentence in said
    assert "Traceback" not in said
    assert whole_entries(cache) == before
    assert not [path for path in tmp_path.rglob("*") if path.name == "outside.txt" or path.suffix == ".partial"]
    assert main(command("verify", "listops", data)) == 0
    path.write_bytes(original)
    assert main(command("get", task, data)) == 0
    assert main(command("verify", task, data)) == 0
    assert len(whole_entries(cache)) == 2


@pytest.mark.usefixtures("benchmark_folder")
def test_a_full_disk_is_a_sentence(cache, data, monkeypatch, capsys, tmp_path):
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root on Linux")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.decode().strip()}")
    try:
        monkeypatch.setenv("SSM_DATA_CACHE", str(small))
        assert main(command("get", "listops", data)) == 1
        said = capsys.readouterr().out
        assert "No space left on device" in said
        assert "SSM_DATA_CACHE" in said
        assert not whole_entries(small)
        subprocess.run(["mount", "-o", "remount,size=20m", small], check=True)
        assert main(command("get", "listops", data)) == 0
        assert main(command("verify", "listops", data)) == 0
    finally:
        subprocess.run(["umount", small], check=True)


def started(benchmark_folder, *words):
    """The command in a process of its own, with the benchmarks of the test."""
    code = (
        "import sys, pathlib\n"
        "from ssm_bench import catalog\n"
        "from ssm_bench.cli import main\n"
        f"catalog.benchmarks_root = lambda: pathlib.Path({str(benchmark_folder)!r})\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def test_a_killed_preparation_does_no_harm(benchmark_folder, cache, data, capsys):
    process = started(benchmark_folder, *command("get", "listops", data))
    deadline = time.monotonic() + 120
    while not list(cache.rglob("*.partial")):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert list(cache.rglob("*.partial"))
    assert not whole_entries(cache)
    assert main(command("verify", "listops", data)) == 1
    assert "is not there; prepare the data" in capsys.readouterr().out
    assert main(command("get", "listops", data)) == 0
    assert main(command("verify", "listops", data)) == 0
    assert not list(cache.rglob("*.partial"))


def test_two_preparations_at_once_make_one_entry(benchmark_folder, cache, data):
    processes = [started(benchmark_folder, *command("get", "listops", data)) for _ in range(2)]
    for process in processes:
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 0, said.decode()
    assert len(whole_entries(cache)) == 1
    assert main(command("verify", "listops", data)) == 0


@pytest.mark.usefixtures("benchmark_folder")
@pytest.mark.parametrize("task", ["image", "text", "pathfinder", "music"])
def test_verify_names_each_file_that_differs(task, cache, data, capsys):
    assert main(command("get", task, data)) == 0
    assert main(command("verify", task, data)) == 0
    assert "all checksums are as they were" in capsys.readouterr().out
    (entry,) = whole_entries(cache)
    arrays = sorted(entry.glob("*.npy"))[:2]
    originals = {"image": ARCHIVE, "text": "aclImdb/train/neg/2_1.txt", "pathfinder": PNG, "music": "music/3.wav"}
    for path in (*arrays, data / originals[task]):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    capsys.readouterr()
    assert main(command("verify", task, data)) == 1
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{task}: ")]
    assert len(said) == 3
    for line, path in zip(said, (*arrays, data / originals[task]), strict=True):
        assert path.name in line


@pytest.mark.usefixtures("benchmark_folder")
def test_originals_may_be_removed_together_but_not_alone(cache, data, capsys):
    assert main(command("get", "music", data)) == 0
    (data / "music" / "3.wav").rename(data / "kept.wav")
    (entry,) = whole_entries(cache)
    recorded = (entry / "originals.sha256").read_text().splitlines()
    assert len(recorded) == 20
    check = subprocess.run(["sha256sum", "--check", entry / "originals.sha256"], capture_output=True, text=True)
    assert check.stdout.count(": OK") == 19
    capsys.readouterr()
    from ssm_data import recorded_checksums

    (sentence,) = recorded_checksums.verify(entry, progress=False)
    assert "3.wav" in sentence
    shutil.rmtree(data / "music")
    assert recorded_checksums.verify(entry, progress=False) == []


def test_show_draws_and_says_what_is_wrong(cache, tmp_path, capsys):
    words = ["data", "show", "lra", "--scale", "smoke", "--task", "image"]
    png = tmp_path / "image.png"
    assert main([*words, "--split", "val", "--index", "3", "--png", str(png)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("val 3 of 400: class ")
    assert len(said.splitlines()) >= 18
    with Picture.open(png) as picture:
        assert picture.format == "PNG"
    assert main([*words, "--index", "4000"]) == 2
    assert "train has the examples 0 to 3,599; there is no 4,000." in capsys.readouterr().err
    assert main(["data", "show", "lra", "--scale", "smoke"]) == 2
    assert "name one of listops, text" in capsys.readouterr().err
    assert main([*words, "--data", str(tmp_path / "nowhere")]) == 2


def test_status_measures_loader_and_training(cache, capsys):
    words = ["data", "status", "lra", "--scale", "smoke", "--task", "listops", "--speed"]
    assert main(words) == 0
    assert "not prepared" in " ".join(capsys.readouterr().out.split())
    assert main(["data", "get", *words[2:-1]]) == 0
    capsys.readouterr()
    assert main(words) == 0
    assert "times" in capsys.readouterr().out
