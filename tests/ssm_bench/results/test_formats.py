"""Every form of a table holds all rows, and no name of a row acts in it."""

import csv
import io
import json
from html.parser import HTMLParser

import pytest
from rich.console import Console
from ssm_bench.catalog import benchmark
from ssm_bench.results.formats import as_csv, as_json, as_markdown, as_rich
from ssm_bench.results.table import Results, make_results
from ssm_testing.runs import record

LRA = benchmark("lra")
HOSTILE = {
    "markdown": "a|b *c* _d_ `e` [f](g) \\",
    "html": "<script>alert(1)</script> & <img src=x onerror=y>",
    "markup": "[bold red]x[/] [/a] [link=http://x]y[/link] \\[z]",
    "escape": "\x1b[2J\x1b]8;;http://x\x07y\x9bz",
    "lines": "one\ntwo\r\nthree\tfour\u2028five",
    "direction": "\u202eabc",
    "formula": '=HYPERLINK("http://x")',
    "plus": "+1+1",
    "at": "@SUM(A1)",
    "minus": "-2+3",
    "quotes": "a\"b',c;d",
}
NAMES = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())


def results(model: str = "s4d", value: float | None = 0.5) -> Results:
    return make_results(LRA, "mini", [record("listops", value, model=model)])


def terminal(table: Results, colour: bool = False) -> str:
    console = Console(file=io.StringIO(), width=400, force_terminal=colour, highlight=False)
    console.print(as_rich(table))
    return console.file.getvalue()


def test_every_form_holds_own_and_published_rows() -> None:
    table = results()
    for text in (as_markdown(table), as_csv(table), as_json(table), terminal(table)):
        assert "50.0" in text
        assert "60.47" in text
    assert {row["scale"] for row in csv.DictReader(as_csv(table).splitlines())} == {"mini", "paper"}
    assert json.loads(as_json(table))["published"][0]["source"]


def test_a_run_that_diverged_is_in_every_form() -> None:
    table = results(value=None)
    for text in (as_markdown(table), terminal(table)):
        assert "diverged" in text
    [own] = json.loads(as_json(table))["own"]
    assert own["values"]["listops"] == {"mean": None, "std": None, "n": 0, "diverged": 1}
    own = next(row for row in csv.DictReader(as_csv(table).splitlines()) if row["kind"] == "own")
    assert (own["model"], own["seeds"], own["listops"]) == ("s4d", "1", "")


@NAMES
def test_a_name_stays_in_its_cell_of_markdown(name: str) -> None:
    lines = as_markdown(results(name)).splitlines()
    [head, line] = [lines[2], next(line for line in lines if "50.00" in line)]
    cells = line.replace("\\\\", "").replace("\\|", "").count("|")
    assert cells == head.count("|")
    parser = _Tags()
    parser.feed(line)
    assert not parser.tags
    text = line.replace("\\\\", "")
    for sign in ("`", "[", "]", "_", "*"):
        assert text.count(sign) == text.count(f"\\{sign}"), f"{sign} is not escaped in {line}"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)


@NAMES
def test_a_name_is_shown_on_a_terminal_as_it_is_written(name: str) -> None:
    text = terminal(results(name))
    assert not [c for c in text if not c.isprintable() and c != "\n"]
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    assert shown in text
    # With colours on, the only escape sequences are rich's own (SGR), none of the name.
    coloured = terminal(results(name), colour=True)
    for part in coloured.split("\x1b")[1:]:
        assert part.startswith("[")
        assert part[1:].partition("m")[0].replace(";", "").isdigit()


@NAMES
def test_a_name_is_no_formula_in_a_spreadsheet_and_the_cells_are_the_columns(name: str) -> None:
    own = next(row for row in csv.reader(io.StringIO(as_csv(results(name)))) if row[0] == "own")
    assert len(own) == 17
    assert own[2][0] not in "=+-@\t\r"
    assert own[2].removeprefix("'") == name


@NAMES
def test_json_has_the_name_itself(name: str) -> None:
    [own] = json.loads(as_json(results(name)))["own"]
    assert own["model"] == name


def test_a_number_that_is_not_finite_is_no_json() -> None:
    """Records cannot hold one; a mean of them could overflow."""
    with pytest.raises(ValueError, match="JSON"):
        as_json(make_results(LRA, "mini", [record("listops", float("nan"))]))
