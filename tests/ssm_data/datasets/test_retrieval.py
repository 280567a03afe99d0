"""Retrieval: pairs of papers from the release's files."""

import pytest
from ssm_data import DataError, Place
from ssm_data.collate import collate
from ssm_data.datasets import retrieval
from ssm_data.datasets.retrieval import FILES, Retrieval

PAPERS = ["parsing is fun", 'a "quoted" title', "x" * 50]
PAIRS = [(1.0, 0, 1), (0.0, 0, 2), (1.0, 2, 1)]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "tsv_data"
    folder.mkdir(parents=True)
    for name in FILES.values():
        with (folder / name).open("w") as file:
            for label, first, second in PAIRS:
                texts = "\t".join('"' + PAPERS[i].replace('"', '""') + '"' for i in (first, second))
                file.write(f"{label}\tid{first}\tid{second}\t{texts}\n")
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def _published(monkeypatch):
    monkeypatch.setattr("ssm_data.datasets.retrieval.PAIRS", dict.fromkeys(FILES, len(PAIRS)))


def test_reads_pairs(tmp_path, data):
    prepared = Retrieval(l_max=20).prepare(Place(data, tmp_path / "cache"), progress=False)
    characters = {character for paper in PAPERS for character in paper}
    assert prepared.spec.d_input == 3 + len(characters)
    assert prepared.spec.pair
    assert prepared.spec.sizes == {"train": 3, "val": 3, "test": 3}
    assert prepared.split("train").labels.tolist() == [1, 0, 1]
    assert prepared.lengths("train").tolist() == [17, 20, 20]
    assert len(prepared.split("train").tokens.offsets) == 1 + len(PAPERS)  # each paper once


def test_batch_stacks_first_and_second_members(tmp_path, data):
    prepared = Retrieval(l_max=20).prepare(Place(data, tmp_path / "cache"), progress=False)
    split = prepared.split("test")
    batch = collate([split[i] for i in range(3)], prepared.spec)
    assert tuple(batch.x.shape) == (6, 20)
    assert batch.lengths.tolist() == [15, 15, 20, 17, 20, 17]
    assert batch.y.tolist() == [1, 0, 1]
    assert batch.x[0].tolist() == batch.x[1].tolist()
    assert batch.x[3].tolist() == batch.x[5].tolist()
    assert (batch.x[0, 15:] == 0).all()


@pytest.mark.parametrize(
    "row",
    ["1.0\ta\tb\tonly one text", "yes\ta\tb\tx\ty", "2\ta\tb\tx\ty", "-1\ta\tb\tx\ty", "nan\ta\tb\tx\ty", "", "\t" * 4],
)
def test_a_damaged_row_is_named_by_file_and_line(tmp_path, data, row):
    path = data / "tsv_data" / FILES["val"]
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], row, lines[2]]))
    with pytest.raises(DataError, match=rf"Line 2 of {path} is not a pair of papers"):
        Retrieval().prepare(Place(data, tmp_path / "cache"), progress=False)
    assert not [path for path in (tmp_path / "cache" / "retrieval").iterdir() if path.is_dir()]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"1\ta\tb\tx\0\ty\xff"])
def test_a_file_that_is_no_text_is_named(tmp_path, data, content):
    (data / "tsv_data" / FILES["val"]).write_bytes(content)
    with pytest.raises(DataError, match=FILES["val"]):
        Retrieval().prepare(Place(data, tmp_path / "cache"), progress=False)


@pytest.mark.parametrize("split", FILES)
def test_refuses_a_part_of_the_release(tmp_path, data, monkeypatch, split):
    monkeypatch.setitem(retrieval.PAIRS, split, 4)
    with pytest.raises(DataError, match=f"{FILES[split]} holds 3 pairs, but the release has 4"):
        Retrieval().prepare(Place(data, tmp_path / "cache"), progress=False)


def test_missing_files_are_named(tmp_path):
    place = Place(tmp_path, tmp_path / "cache")
    assert Retrieval().status(place).state == "missing"
    with pytest.raises(DataError, match=rf"{FILES['train']}.*looked for in {tmp_path}.*lra_release\.gz.*--data"):
        Retrieval().prepare(place, progress=False)
