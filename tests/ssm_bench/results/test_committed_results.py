"""What stands in results/ is what the records say."""

from pathlib import Path

import pytest
from ssm_bench.catalog import benchmark
from ssm_bench.record import find_records
from ssm_bench.results.formats import as_markdown
from ssm_bench.results.table import make_results

RESULTS = Path(__file__).parents[3] / "results"
TABLES = sorted((RESULTS / "tables").glob("*.md"))
RECORDS, PROBLEMS = find_records([RESULTS / "records"])


def test_every_record_is_read() -> None:
    assert not PROBLEMS
    assert len(RECORDS) == len(list((RESULTS / "records").rglob("record.json")))


@pytest.mark.parametrize("file", TABLES, ids=lambda file: file.stem)
def test_table_is_generated_from_the_records(file: Path) -> None:
    """``bench table <benchmark> --scale <scale> --out results/records --format markdown``."""
    name, _, scale = file.stem.rpartition("-")
    assert file.read_text() == as_markdown(make_results(benchmark(name), scale, RECORDS))


def test_every_record_is_in_a_table() -> None:
    scales = {f"{record.benchmark}-{record.scale}" for record in RECORDS}
    assert scales == {file.stem for file in TABLES}


def test_records_are_of_committed_code() -> None:
    for record in RECORDS:
        assert not record.code.endswith("-dirty"), record.command
