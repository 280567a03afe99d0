"""ListOps: the evaluator, the generator against a sample of the Long Range Arena's own, and its files."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ssm_data import DataError, Place
from ssm_data.datasets import listops
from ssm_data.datasets.listops import ListOps
from ssm_data.generators import listops_expressions as generator
from ssm_data.generators.listops_expressions import Grammar, evaluate

SAMPLES = Path(__file__).parents[1] / "samples"


def sources(expressions):
    """Expressions as text."""
    for start, end in zip(expressions.offsets, expressions.offsets[1:], strict=False):
        yield " ".join(generator.SYMBOLS[code] for code in expressions.codes[start:end])


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("7", 7),
        ("[MAX 2 9 [MIN 4 7 ] 0 ]", 9),
        ("[MED 1 2 ]", 1),
        ("[MED 3 9 4 ]", 4),
        ("[MED 8 3 4 9 ]", 6),
        ("[SM 9 8 [SM 7 6 ] ]", 0),
        ("( ( ( [MIN 5 ) 3 ) ] )", 3),
    ],
)
def test_evaluates(source, value):
    assert evaluate(source) == value


@pytest.mark.parametrize("source", ["", "1 2", "[MAX 1", "]", "[MAX ]", "[AVG 1 2 ]", "12"])
def test_refuses_what_is_no_expression(source):
    with pytest.raises(ValueError):  # noqa: PT011 (each has its own words)
        evaluate(source)


def test_evaluator_gives_the_labels_of_the_original_generator():
    rows = (SAMPLES / "listops_basic_test.tsv").read_text().splitlines()[1:]
    assert len(rows) == 20
    for row in rows:
        source, target = row.split("\t")
        assert evaluate(source) == int(target)


def test_generator_agrees_with_the_evaluator():
    expressions = generator.generate(np.random.default_rng(3), 60, Grammar())
    assert [evaluate(source) for source in sources(expressions)] == expressions.values.tolist()


def chi_square(counts, expected_counts):
    """Statistic of homogeneity of two samples of the same categories, and its degrees of freedom."""
    table = np.array([[counts.get(key, 0), expected_counts.get(key, 0)] for key in sorted({*counts, *expected_counts})])
    table = table[table.sum(axis=1) >= 10]
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return ((table - expected) ** 2 / expected).sum(), len(table) - 1


def structure(source):
    """Numbers of arguments of the operators, and the depth of the deepest operator."""
    arguments, depth, stack = Counter(), 0, []
    for symbol in source.split():
        if symbol == "]":
            arguments[str(stack.pop())] += 1
        elif symbol.startswith("["):
            if stack:
                stack[-1] += 1
            stack.append(0)
            depth = max(depth, len(stack))
        else:
            stack[-1] += 1
    return arguments, str(depth)


def test_generator_has_the_distribution_of_the_original():
    """Two-sample tests at a level of about 0.001 each, against 1,000 rows of the original generator."""
    sample = json.loads((SAMPLES / "listops_1000.json").read_text())
    expressions = generator.generate(np.random.default_rng(0), 1000, Grammar())
    ours = np.sort(np.diff(expressions.offsets))
    theirs = np.array(sample["lengths"])
    grid = np.arange(500, 2001)
    distance = np.abs(np.searchsorted(ours, grid, "right") - np.searchsorted(theirs, grid, "right")).max() / 1000
    assert distance < 1.95 * np.sqrt(2 / 1000)  # Kolmogorov-Smirnov

    arguments, depths = Counter(), Counter()
    for source in sources(expressions):
        number, depth = structure(source)
        arguments += number
        depths[depth] += 1
    codes = np.bincount(expressions.codes, minlength=15)
    symbols = {symbol: int(count) for symbol, count in zip(generator.SYMBOLS, codes, strict=True)}
    values = Counter(str(value) for value in expressions.values)
    for counts, name in (
        (symbols, "symbols"),
        (values, "values"),
        (arguments, "arguments"),
        (depths, "operator_depth"),
    ):
        statistic, freedom = chi_square(counts, sample[name])
        assert statistic < freedom + 3.3 * np.sqrt(2 * freedom) + 4, name


def test_lengths_stay_in_bounds():
    lengths = np.diff(generator.generate(np.random.default_rng(1), 200, Grammar()).offsets)
    assert lengths.min() > 500
    assert lengths.max() < 2000


def test_generated_data_do_not_depend_on_the_number_of_processes(tmp_path, monkeypatch):
    limit = {"train": 1100, "val": 20, "test": 20}
    fingerprints = []
    for processes in (1, 2):
        monkeypatch.setattr("ssm_data.parallel.cores", lambda processes=processes: processes)
        place = Place(None, tmp_path / str(processes))
        fingerprints.append(ListOps(limit=limit).prepare(place, progress=False).spec.fingerprint)
    assert fingerprints[0] == fingerprints[1]


def test_seed_and_split_decide_the_expressions(tmp_path):
    place = Place(None, tmp_path)
    limit = {"train": 20, "val": 20, "test": 20}
    first, second = (ListOps(limit=limit, seed=seed).prepare(place, progress=False) for seed in (0, 1))
    assert first.spec.fingerprint != second.spec.fingerprint
    assert first.split("train")[0][0].tolist() != first.split("val")[0][0].tolist()


def test_generated_tokens_read_as_their_value(tmp_path):
    prepared = ListOps(limit={"train": 5, "val": 5, "test": 5}).prepare(Place(None, tmp_path), progress=False)
    assert prepared.spec.d_input == 18
    for i in range(5):
        tokens, label = prepared.split("train")[i]
        assert tokens[-1] == listops.EOS
        words = [listops.VOCABULARY[token] for token in tokens[:-1]]
        assert evaluate(" ".join("]" if word == "X" else word for word in words)) == label


def write_release(folder, rows):
    folder.mkdir(parents=True)
    for split in ("train", "val", "test"):
        text = "Source\tTarget\r\n" + "".join(f"{source}\t{target}\r\n" for source, target in rows)
        (folder / f"basic_{split}.tsv").write_bytes(text.encode())


@pytest.mark.parametrize("folder", ["listops-1000", "lra_release/listops-1000", "."])
def test_reads_the_release(tmp_path, monkeypatch, folder):
    monkeypatch.setattr(listops, "PUBLISHED", {"train": 2, "val": 2, "test": 2})
    data = tmp_path / "data"
    write_release(data / folder if folder != "." else data, [("( ( ( [MAX 2 ) 9 ) ] )", 9), ("[SM 5 5 ]", 0)])
    prepared = ListOps().prepare(Place(data, tmp_path / "cache"), progress=False)
    tokens, label = prepared.split("val")[0]
    assert [listops.VOCABULARY[token] for token in tokens] == ["[MAX", "2", "9", "X", "<eos>"]
    assert label == 9
    assert prepared.spec.sizes == {"train": 2, "val": 2, "test": 2}


def test_l_max_counts_the_end_symbol(tmp_path, monkeypatch):
    monkeypatch.setattr(listops, "PUBLISHED", {"train": 1, "val": 1, "test": 1})
    write_release(tmp_path / "data", [("[MAX 2 9 ]", 9)])
    prepared = ListOps(l_max=3).prepare(Place(tmp_path / "data", tmp_path / "cache"), progress=False)
    assert [listops.VOCABULARY[token] for token in prepared.split("test")[0][0]] == ["[MAX", "2", "<eos>"]


@pytest.mark.parametrize("rows", [[("[MAX 2 ? ]", 9)], [("[MAX 2 9 ]", "nine")], [("[MAX 2 9 ]", 9)] * 2])
def test_refuses_other_files(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(listops, "PUBLISHED", {"train": 1, "val": 1, "test": 1})
    write_release(tmp_path / "data", rows)
    with pytest.raises(DataError, match=r"basic_train\.tsv"):
        ListOps().prepare(Place(tmp_path / "data", tmp_path / "cache"), progress=False)
