"""Declarations: a benchmark costs README, benchmark.yaml and a file a task; what is wrong in one is a sentence."""

import re
from pathlib import Path

import pytest
from ssm_bench import catalog
from ssm_bench.catalog import Benchmark, ModelName, benchmark, benchmarks, models
from ssm_bench.cli import main
from ssm_bench.errors import UserError
from ssm_bench.plan import make_plan
from ssm_models.options import to_options
from ssm_models.zoo import ALIASES, ZOO
from ssm_testing.benchmarks import BENCHMARK, TASK, write_benchmark
from ssm_testing.runs import LAYER, files_below, read_record


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of benchmarks."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    monkeypatch.setattr(catalog, "benchmarks_root", lambda: folder)
    return folder


def test_what_a_benchmark_costs(root: Path, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its README, benchmark.yaml and one file a task: it is listed, shown, runs, and has its table."""
    write_benchmark(root)
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert "throwaway: Throw-away" in said
    assert "copying" in said
    assert main(["list", "throwaway"]) == 0
    assert "@wide of s4, s4d recipes" in capsys.readouterr().out
    assert main([]) == 0
    assert "Throw-away: copying" in capsys.readouterr().out
    assert main(["show", "throwaway", "--model", "s4d"]) == 0
    assert "seed: 7" in capsys.readouterr().out
    assert main(["data", "status", "throwaway"]) == 0
    capsys.readouterr()
    (work / "mine.py").write_text(LAYER)
    command = ["throwaway", "--model", "s4d", "s4d@wide", "s5", "mine.py:Mean", "--scale", "smoke"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "Throw-away v3: test accuracy" in said
    for name in ("s4d", "s4d@wide", "s5", "mine.py:Mean"):
        assert f" {name} " in said
    assert "Published" not in said
    assert main(["table", "throwaway", "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("kind,scale,model,seeds,copying,copying_std,average\nown,smoke,")
    assert len(list(work.rglob("record.json"))) == 4
    record = read_record(work / "runs/throwaway/copying" / next(work.rglob("s4d@wide-*")).name)
    assert (record["seed"], record["recipe"]["model"]["d_model"], record["recipe"]["model"]["d_state"]) == (7, 8, 16)


def test_a_name_may_be_written_with_hyphen_or_underscore(root: Path) -> None:
    write_benchmark(root, "speech_commands")
    assert benchmark("speech-commands").name == benchmark("speech_commands").name == "speech_commands"


def test_scales_win_over_variants_and_variants_over_families(root: Path) -> None:
    one = Benchmark(write_benchmark(root))

    def options(model: str, scale: str) -> tuple[int, int]:
        [cell] = make_plan(one, [model], [], scale, [], [])
        found = to_options(cell.recipe.model)
        return found["d_model"], found["d_state"]

    assert options("s4", "paper") == (16, 8)
    assert options("s4@wide", "paper") == (32, 8)
    assert options("s4d@wide", "paper") == (32, 16)
    assert options("s4d@wide", "smoke") == (8, 16)


WRONG = {
    "broken YAML": ("benchmark", "title: [", "is not YAML"),
    "a tab": ("task", "title:\tx\n\tdata: {}", "is not YAML"),
    "no mapping": ("task", "- 1\n- 2\n", "must hold keys and values"),
    "a text": ("benchmark", "hello", "must hold keys and values"),
    "empty": ("task", "", "has no 'title'"),
    "an unknown key": ("task", TASK + "familys: {}\n", "'familys'.*families"),
    "an unknown key of a benchmark": ("benchmark", BENCHMARK + "metrics: accuracy\n", "'metrics'.*metric"),
    "an unknown section": ("task", TASK.replace("optimizer:", "optimiser:"), r"'training\.optimiser'.*optimizer"),
    "no data": ("task", TASK.replace("data: {name: copying}", ""), "has no 'data'"),
    "an unknown data set": ("task", TASK.replace("name: copying", "name: coping"), "'coping'.*copying"),
    "an unknown option of the data": (
        "task",
        TASK.replace("{name: copying}", "{name: copying, l_min: 3}"),
        r"data\.l_min",
    ),
    "a wrong value": ("task", TASK.replace("lr: 0.01", "lr: fast"), r"optimizer\.lr='fast'"),
    "an unknown scale": ("task", TASK + "scales: {tiny: {trainer: {epochs: 1}}}\n", "'tiny'.*mini"),
    "a missing task file": ("benchmark", BENCHMARK.replace("[copying]", "[copying, adding]"), r"no .*adding\.yaml"),
    "a family that is a list": ("task", TASK.replace("d_state: 16", "- 3"), "is not YAML"),
    "families that are a list": (
        "task",
        TASK.replace("families: {s4: {}, s4d: {model: {d_state: 16}}}", "families: [s4]"),
        "families must hold",
    ),
    "a key twice": ("task", TASK + "title: Other\n", "the key title stands twice"),
    "a key of a section twice": ("task", TASK.replace("lr: 0.01", "lr: 0.01, lr: 0.1"), "the key lr stands twice"),
    "scales that are a text": (
        "benchmark",
        BENCHMARK.split("scales:")[0] + "scales: mini\n",
        "scales must be keys and values",
    ),
    "a section that is a text": ("task", TASK.replace("data: {name: copying}", "data: copying"), "data must be keys"),
    "an empty section": ("task", TASK.replace("model: {d_state: 8}", "model:"), r"families\.s4\.model must hold"),
    "data without a name": ("task", TASK.replace("{name: copying}", "{memory: 8}"), "data has no 'name'"),
    "a variant of no family": ("task", TASK.rsplit("    families:", 1)[0], r"variants\.wide has no 'families'"),
    "papers that are a text": (
        "task",
        TASK.replace("papers: [s4]", "papers: s4"),
        r"families\.s4\.papers must be a list",
    ),
    "a version that is no number": (
        "benchmark",
        BENCHMARK.replace("version: 3", "version: 3.5"),
        "version must be a whole",
    ),
    "an unknown metric": (
        "benchmark",
        BENCHMARK.replace("metric: accuracy", "metric: accurate"),
        "'accurate'.*accuracy",
    ),
    "a flag for a size": (
        "task",
        TASK.replace("{name: copying}", "{name: copying, limit: {val: true}}"),
        "whole numbers",
    ),
    "a missing version": ("benchmark", BENCHMARK.replace("version: 3", ""), "has no 'version'"),
}


@pytest.mark.parametrize(("file", "content", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_declaration_is_a_sentence(
    file: str, content: str, said: str, root: Path, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_benchmark(root, **{file: content})
    verbs = [["throwaway", "--model", "s4d", "--scale", "smoke"], ["show", "throwaway", "--model", "s4d"]]
    if "optimizer" not in said:  # which data have none
        verbs.append(["data", "status", "throwaway"])
    for words in verbs:
        status = main(words)
        sentence = capsys.readouterr().err
        assert status == 2, sentence
        assert len(sentence.splitlines()) == 1
        assert re.search(said, sentence), sentence
    assert files_below(work) == [name for name in files_below(work) if name.startswith("benchmarks/")]


def test_a_recipe_without_a_seed_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_benchmark(root, task=TASK.replace("seed: 7", ""))
    assert main(["show", "throwaway", "--model", "s4d"]) == 2
    assert capsys.readouterr().err == "bench: seed is missing; it has no default.\n"


def test_bytes_that_are_no_text_are_a_sentence(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_benchmark(root)
    (folder / "copying.yaml").write_bytes(b"\xff\xfe\x00")
    assert main(["show", "throwaway", "--model", "s4d"]) == 2
    assert "copying.yaml is not YAML" in capsys.readouterr().err


def test_a_broken_benchmark_does_not_stop_the_others(root: Path, work: Path) -> None:
    write_benchmark(root, "broken", benchmark="title: [")
    write_benchmark(root)
    assert main(["show", "throwaway", "--model", "s4d"]) == 0


@pytest.mark.parametrize("name", benchmarks())
def test_every_declared_task_states_its_sources(name: str) -> None:
    for task in benchmark(name).tasks.values():
        assert task.content["training"]["source"], task.name
        for kind in ("families", "variants"):
            for part_name, part in (task.content.get(kind) or {}).items():
                assert part["source"], f"{task.name} {kind}.{part_name}"
        for part in (task.content.get("families") or {}).values():
            assert not set(part.get("papers", ())) - set(models()), task.name


def test_declared_families_are_those_of_the_zoo() -> None:
    known = {entry.family for entry in ZOO.values()} | {catalog.CUSTOM}
    for one in benchmarks().values():
        for task in one.tasks.values():
            assert not set(task.content.get("families") or {}) - known
            for part in (task.content.get("variants") or {}).values():
                assert not set(part["families"]) - known


def test_files_of_benchmarks_are_few() -> None:
    """One a task and one a benchmark."""
    for one in benchmarks().values():
        files = {file.name for file in one.folder.rglob("*") if file.is_file()}
        assert files == {"README.md", "benchmark.yaml", *(f"{task}.yaml" for task in one.tasks)}


def test_names_of_models() -> None:
    assert str(ModelName.parse("s4d-legs@v3")) == "s4d@v3"
    assert ModelName.parse("s4").family == "s4"
    assert not set(models()) & set(ALIASES)
    assert set(models()) | set(ALIASES) == set(ZOO)
    with pytest.raises(UserError, match="names no variant"):
        ModelName.parse("s4@")


def test_the_checkout_is_where_declarations_are_read(work: Path) -> None:
    assert (catalog.benchmarks_root() / "lra" / "benchmark.yaml").is_file()
