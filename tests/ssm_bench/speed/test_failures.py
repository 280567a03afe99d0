"""The log of failures."""

from pathlib import Path

from ssm_bench.speed.failures import write_traces


def test_tracebacks_go_to_the_file_or_to_a_new_one(tmp_path: Path) -> None:
    file = write_traces(["first", "second"], tmp_path / "results" / "errors.log")
    assert file == tmp_path / "results" / "errors.log"
    assert file.read_text() == "first\n\nsecond"
    one, two = write_traces(["first"]), write_traces(["first"])
    assert one != two
    assert one.read_text() == "first"
