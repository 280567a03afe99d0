"""Examples for people: every kind of data can be drawn, and what is drawn is what the model gets."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image as Picture
from rich.console import Console
from ssm_data import DATASETS, Place, show
from ssm_data.datasets.listops import VOCABULARY


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(None, tmp_path_factory.mktemp("cache"))


def prepare(name, place):
    limit = {"train": 30, "val": 30, "test": 30}
    return DATASETS[name](miniature=True, limit=limit).prepare(place, progress=False)


@pytest.mark.parametrize("name", DATASETS)
def test_an_example_of_every_kind_is_drawn(name, place, tmp_path):
    prepared = prepare(name, place)
    out = io.StringIO()
    show.show(prepared, "train", 0, Console(file=out, width=80))
    assert out.getvalue().startswith("train 0 of ")
    assert len(out.getvalue().splitlines()) > 1
    show.save(prepared, "train", 0, tmp_path / "drawn.png")
    with Picture.open(tmp_path / "drawn.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.std() > 5
    assert [path.name for path in tmp_path.iterdir()] == ["drawn.png"]


def test_an_example_that_is_not_there_is_refused(place):
    with pytest.raises(IndexError, match="test has the examples 0 to 29; there is no 30"):
        show.explain(prepare("image", place), "test", 30)


def test_an_expression_is_parsed_to_its_value(place):
    """The trees of ListOps, computed node by node, have the values that the data set gives."""
    operators = {"MIN": min, "MAX": max, "SM": lambda v: sum(v) % 10, "MED": lambda v: int(np.median(v))}

    def value(node):
        return operators[node.symbol](list(map(value, node.arguments))) if node.arguments else int(node.symbol)

    split = prepare("listops", place).split("train")
    for number in range(30):
        tokens, label = split[number]
        assert value(show.parsed([VOCABULARY[token] for token in tokens])) == label


@pytest.mark.parametrize("name", ["image", "scifar", "pmnist"])
def test_a_sequence_of_pixels_is_drawn_as_its_image(name, place):
    prepared = prepare(name, place)
    split = prepared.split("test")
    (raster,) = show.explain(prepared, "test", 7)[1]
    original = split.images[split.index[7]] / 255
    np.testing.assert_allclose(raster.pixels, original.reshape(raster.pixels.shape), atol=1e-6)


def test_text_reads_as_it_was_written(place):
    review = prepare("text", place)
    caption, (words,) = show.explain(review, "train", 3)
    assert caption.endswith(("negative", "positive"))
    assert words.text.startswith("the ")
    assert words.text.endswith(".<eos>")
    bytes_of_text = prepare("enwik8", place)
    assert show.explain(bytes_of_text, "train", 0)[1][0].text.startswith("the ")
    line = show.explain(prepare("wikitext-2", place), "train", 0)[1][0].text
    assert line.split()[:4:2] == ["the", "was"]


def test_names_in_brackets_are_shown_as_they_are(place, tmp_path):
    """Rich would take [red] for a colour and end with an error at [/x]; matplotlib would read $x$ as mathematics."""
    prepared = prepare("image", place)
    names = [f"[red]class[/x] $\\frac{number}" for number in range(10)]
    out = io.StringIO()
    show.show(dataclasses.replace(prepared, classes=names), "test", 0, Console(file=out, width=200))
    assert out.getvalue().splitlines()[0].endswith(names[prepared.split("test").labels[0]])
    show.save(dataclasses.replace(prepared, classes=names), "test", 0, tmp_path / "drawn.png")
    text = prepare("text", place)
    symbols = ["[/b]" if symbol == "e" else symbol for symbol in text.symbols]
    out = io.StringIO()
    show.show(dataclasses.replace(text, symbols=symbols), "test", 0, Console(file=out, width=1000))
    assert "th[/b]" in out.getvalue()
