"""A profile says what is written in it: YAML's own ideas of times, octal numbers and truth do not count."""

from pathlib import Path
from typing import Any

import pytest
from ssm_bench.errors import UserError
from ssm_bench.launch.cluster_profile import ClusterProfile, find_profile, read_profile


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(text: str) -> ClusterProfile:
        file = tmp_path / "mine.yaml"
        file.write_text(text)
        return read_profile(file)

    return read


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("720", 720),
        ("010", 10),
        ("24:00:00", 1440),
        ('"24:00:00"', 1440),
        ("00:30:00", 30),
        ("0:00:01", 1),
        ("100:00:00", 6000),
        ("1-00", 1440),
        ("1-12:30", 2190),
        ("1-00:00:00", 1440),
        ("2-03:04:05", 3065),
    ],
)
def test_a_time_limit_is_written_as_slurm_writes_it(text: str, minutes: int, read: Any) -> None:
    assert read(f"time: {text}\n").time == minutes


@pytest.mark.parametrize("text", ["12:30", "24:00", "1:00"])
def test_a_time_of_two_parts_is_ambiguous(text: str, read: Any) -> None:
    with pytest.raises(UserError, match=rf"time is '{text}'.*Write {text}:00 for hours and minutes"):
        read(f"time: {text}\n")


@pytest.mark.parametrize(
    "text", ["soon", "-5", "0", "00:00:00", "1_0", "1.5", "1e3", "1:60:00", "1-1-1", "1:2:3:4", "1-"]
)
def test_a_wrong_time_is_refused(text: str, read: Any) -> None:
    with pytest.raises(UserError, match="give minutes, hours:minutes:seconds"):
        read(f"time: {text}\n")


@pytest.mark.parametrize("key", ["partition", "account", "qos", "constraint", "mail", "gpu", "python"])
@pytest.mark.parametrize("word", ["012345", "1e3", "on", "no", "1:00", "0x1F", "1_000", "2026-11-28", ".5"])
def test_a_name_is_text_whatever_it_looks_like(key: str, word: str, read: Any) -> None:
    assert getattr(read(f"{key}: {word}\n"), key) == word


@pytest.mark.parametrize(
    ("text", "gigabytes"), [("64", 64), ("0.5", 0.5), ("64G", 64), ("64 GB", 64), ("512M", 0.5), ("2T", 2048)]
)
def test_memory_has_units(text: str, gigabytes: float, read: Any) -> None:
    assert read(f"memory: {text}\n").memory == gigabytes


def test_options_of_sbatch_are_passed_as_written(read: Any) -> None:
    text = "sbatch: {nodelist: 010, begin: 12:30, exclusive: true, comment: 'true', hold: false, qos: null}\n"
    assert read(text).sbatch == {"nodelist": "010", "begin": "12:30", "exclusive": True, "comment": "true"}


def test_setup_is_one_line_or_several(read: Any) -> None:
    assert read("setup: module load x\n").setup == ("module load x",)
    assert read("setup: [module load x, 010]\n").setup == ("module load x", "010")
    assert read("setup: |\n  a\n  b\n").setup == ("a\nb\n",)


def test_what_is_left_out_or_null_is_the_default(read: Any) -> None:
    assert read("") == read("# nothing\n") == read("account: null\ncpus: ~\nmail:\n") == ClusterProfile()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("partitoin: gpu\n", ["'partitoin'", "partition"]),
        ("12: gpu\n", ["'12'"]),
        ("cpus: 0\n", ["cpus is '0'", "at least 1"]),
        ("cpus: four\n", ["cpus is 'four'"]),
        ("cpus: 1.5\n", ["cpus is '1.5'"]),
        ("cpus: true\n", ["cpus is true"]),
        ("cpus: [1]\n", ["cpus: give a whole number"]),
        ("gpus: -1\n", ["gpus is '-1'", "at least 0"]),
        ("memory: 0\n", ["memory is '0'"]),
        ("memory: lots\n", ["memory is 'lots'"]),
        ("partition: [a, b]\n", ["partition: give one word"]),
        ("partition: ''\n", ["partition is ''"]),
        ("setup: {a: b}\n", ["setup: give one shell line"]),
        ("sbatch: hold\n", ["sbatch is 'hold'", "long names"]),
        ("sbatch: {exclude: 1:00}\n", ["'exclude: 1:00' names no nodes"]),
        ("sbatch: {job-name: mine}\n", ["'job-name' is set by the job script"]),
        ("sbatch: {mail_type: END}\n", ["'mail_type' is no long name"]),
        ("sbatch: {gres: [a]}\n", ["'gres' must be one value"]),
        ("cpus: 1\ncpus: 2\n", ["the key 'cpus' stands twice"]),
        ("- a\n", ["keys and values"]),
        ("a: [\n", ["not YAML"]),
        ("a: !!python/object/apply:os.system [true]\n", ["not YAML"]),
    ],
)
def test_a_wrong_profile_is_one_sentence(text: str, named: list[str], read: Any) -> None:
    with pytest.raises(UserError) as error:
        read(text)
    for word in ["mine.yaml", *named]:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_profile_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"partition: \xff\n")
    with pytest.raises(UserError, match=r"mine\.yaml is not a text file in UTF-8"):
        read_profile(tmp_path / "mine.yaml")


def test_profiles_are_found_by_name_or_path(work: Path) -> None:
    assert read_profile(find_profile("default")) == ClusterProfile()
    assert read_profile(find_profile("local")).gpus == 0
    (work / "slurm").mkdir()
    (work / "slurm" / "mine.yaml").write_text("partition: long\nsetup: [module load cuda]\n")
    expected = ClusterProfile(partition="long", setup=("module load cuda",))
    assert find_profile("mine") == find_profile("slurm/mine.yaml") == work / "slurm" / "mine.yaml"
    assert read_profile(find_profile("mine")) == expected
    with pytest.raises(UserError, match=r"'nime'.*mine"):
        find_profile("nime")
    with pytest.raises(UserError, match=r"no profile nowhere\.yaml"):
        find_profile("nowhere.yaml")
