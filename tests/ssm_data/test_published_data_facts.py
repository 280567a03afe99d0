"""The report on genuine files: facts that are met, facts that are not, files that are not there."""

import pytest
from ssm_data import DataError, published_data_facts
from ssm_data.published_data_facts import Fact


def test_a_fact_that_differs_is_told_and_fails(tmp_path, monkeypatch, capsys):
    def checks(place):
        yield Fact("size", 3, 3)
        yield Fact("mean", None, 0.5)

    def absent(place):
        raise DataError(f"{place.data} holds no clips.")
        yield

    monkeypatch.setattr(published_data_facts, "CHECKS", {"good": checks, "absent": absent})
    assert published_data_facts.main(tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:-1] == ["| good | size | 3 | 3 | = |", "| good | mean |  | 0.5 |  |"]
    assert lines[-1] == f"| absent | not checked: {tmp_path} holds no clips. | | | |"
    monkeypatch.setattr(published_data_facts, "CHECKS", {"bad": lambda place: iter([Fact("size", 3, 4)])})
    assert published_data_facts.main(tmp_path) == 1
    assert capsys.readouterr().out.endswith("| bad | size | 3 | 4 | differs |\n")


@pytest.mark.parametrize("title", ["ListOps", "Pathfinder", "Path-X", "Speech Commands", "WikiText-2"])
def test_an_empty_folder_is_not_taken_for_data(tmp_path, title):
    with pytest.raises(DataError, match="no"):
        list(published_data_facts.CHECKS[title](published_data_facts.Place(tmp_path, tmp_path)))
