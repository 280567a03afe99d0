"""ListOps: generated data, the files of the release, damaged rows, warnings."""

import warnings

import numpy as np
import pytest
from ssm_data import DataError, Place
from ssm_data.datasets import listops
from ssm_data.datasets.listops import ListOps
from ssm_data.errors import DataWarning
from ssm_data.generators.listops_expressions import evaluate


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


@pytest.mark.parametrize("folder", ["listops-1000", "listops", "lra_release/lra_release/listops-1000", "."])
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


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("[MAX 2 9 ]\t77", "target is '77', not a digit"),
        ("[MAX 2 9 ]\t-3", "target is '-3', not a digit"),
        ("[MAX 2 9 ]\t", "target is '', not a digit"),
        ("[MAX 2 9 ]", "target is None, not a digit"),
        ("[MAX 2 9 ]\t\u0669", "not a digit"),
        ("] ] 2 [MAX\t2", "not one complete expression"),
        ("[MAX 2 9 ] 3\t9", "not one complete expression"),
        ("[MAX 2 9\t9", "not one complete expression"),
        ("[MAX ]\t9", "not one complete expression"),
        ("[MAX 1 [MIN ] ]\t1", "not one complete expression"),
        ("1 2\t1", "not one complete expression"),
        ("]\t1", "not one complete expression"),
        ("[MAX\t1", "not one complete expression"),
        ("\t1", "not one complete expression"),
        ("( )\t1", "not one complete expression"),
        ("[AVG 1 2 ]\t1", "'\\[AVG' is no symbol"),
        ("[MAX 2 10 ]\t1", "'10' is no symbol"),
        ("[MAX 2 9 X\t9", "'X' is no symbol"),
        ("<pad>\t0", "'<pad>' is no symbol"),
    ],
)
def test_a_damaged_row_is_named_by_file_and_line(tmp_path, monkeypatch, row, fault):
    monkeypatch.setattr(listops, "PUBLISHED", {"train": 3, "val": 3, "test": 3})
    write_release(tmp_path / "data", [("[MAX 2 9 ]", 9)] * 3)
    path = tmp_path / "data" / "basic_val.tsv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], row, lines[3]]))
    with pytest.raises(DataError, match=rf"Line 3 of {path} is no row of ListOps: .*{fault}"):
        ListOps().prepare(Place(tmp_path / "data", tmp_path / "cache"), progress=False)
    assert not [path for path in (tmp_path / "cache" / "listops").iterdir() if path.is_dir()]


def test_the_check_of_an_expression_agrees_with_the_evaluator():
    """Random texts of its symbols: those that the evaluator takes are those that are read."""
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(20_000):
        symbols = rng.choice(["[MAX", "[SM", "]", "]", "1", "7"], rng.integers(1, 8))
        source = " ".join(symbols)
        try:
            evaluate(source)
            right = True
        except ValueError:
            right = False
        try:
            tokens = listops.encoded(source)
        except ValueError:
            assert not right, source
            continue
        assert right, source
        words = [listops.VOCABULARY[token] for token in tokens]
        assert ["]" if word == "X" else word for word in words] == source.split()
        kept += 1
    assert kept > 200


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"", "columns Source and Target"), (b"a\tb\n1\t1\n", "columns Source"), (b"Source\tTarget\n\xff\t1\n", "codec")],
)
def test_a_file_of_another_kind_is_named(tmp_path, monkeypatch, content, fault):
    write_release(tmp_path / "data", [("[MAX 2 9 ]", 9)])
    (tmp_path / "data" / "basic_train.tsv").write_bytes(content)
    with pytest.raises(DataError, match=rf"basic_train\.tsv .*{fault}.* take the file from lra_release\.gz"):
        ListOps().prepare(Place(tmp_path / "data", tmp_path / "cache"), progress=False)


LIMIT = {"train": 2, "val": 2, "test": 2}


def test_data_are_never_generated_silently_if_a_folder_was_named(tmp_path):
    """Status and a warning say it, before and after the preparation; without a folder nothing is said."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    place = Place(data, cache)
    sentence = ListOps(limit=LIMIT).status(place).sentence
    assert sentence.startswith("generates 6 expressions; ")
    assert f"{data} does not hold the files basic_train.tsv, basic_val.tsv, basic_test.tsv of listops-1000" in sentence
    for _ in range(2):
        with pytest.warns(DataWarning, match=r"^ListOps: .*so the data are generated .*lra_release\.gz"):
            ListOps(limit=LIMIT).prepare(place, progress=False)
        assert "the data are generated" in ListOps(limit=LIMIT).status(place).sentence
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ListOps(limit=LIMIT).prepare(Place(None, cache), progress=False)
        ListOps(miniature=True).prepare(place, progress=False)


def test_a_release_that_is_still_packed_is_named(tmp_path):
    (tmp_path / "lra_release.gz").write_bytes(b"x")
    sentence = ListOps().status(Place(tmp_path, tmp_path / "cache")).sentence
    assert f"to read the release, unpack {tmp_path / 'lra_release.gz'} there" in sentence
