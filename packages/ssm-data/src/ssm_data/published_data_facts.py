"""Compare genuine files with the published facts: ``python -m ssm_data.published_data_facts FOLDER``.

The program writes a table in Markdown to standard output, for all data sets that the folder holds. It exits with 1 if a
fact differs. If only a part of a release is there, only the files of this part are read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from ssm_data import DATASETS, Place, vocabulary
from ssm_data.contract import Prepared
from ssm_data.datasets import listops, pathfinder, speech_commands, text, wikitext
from ssm_data.errors import DataError
from ssm_data.splits import Images, Pixels, Sequences, pictures

TITLE = """# Data, checked on genuine files

Written by `python -m ssm_data.published_data_facts FOLDER > results/data/genuine.md` on {today}. A fact without a
published value is recorded so that another machine can be compared with it. If only a part of a release was there, only
the files of this part have been read.

| data | fact | published | found | |
|---|---|---|---|---|"""


class Fact(NamedTuple):
    """A property of genuine files: its published value (None if there is none), and the value that was found."""

    name: str
    published: Any
    found: Any

    @property
    def met(self) -> bool:
        return self.published is None or self.published == self.found


#: Yields the facts of one data set at a place.
Check = Callable[[Place], Iterator[Fact]]


def image(name: str, sizes: list[int], test: list[int], mean: list[float], white: int, digits: int) -> Check:
    """Return the check of a data set of pixels; it compares sizes, classes, and the mean of each channel.

    The published values are ``sizes`` of the splits, number of examples of each class in the ``test`` split, and
    ``mean`` of each channel.

    Args:
        white: value of a white pixel in the units of the published mean.
        digits: decimal digits of the published mean.
    """

    def facts(place: Place) -> Iterator[Fact]:
        prepared = _prepared(name, place)
        yield from _classified(prepared, sizes, test)
        split = prepared.split("train")
        assert isinstance(split, Pixels)
        images = split.images.reshape(len(split.images), -1, prepared.spec.d_input)
        found_mean, found_std = speech_commands.moments(images, np.arange(len(images)))
        yield Fact("mean of train and val", mean, (found_mean * white / 255).round(digits).tolist())
        yield Fact("deviation of train and val", None, (found_std * white / 255).round(digits).tolist())

    return facts


def reviews(place: Place) -> Iterator[Fact]:
    """Yield the facts of IMDB."""
    prepared = _prepared("text", place)
    yield from _classified(prepared, [22_500, 2_500, 25_000], [12_500, 12_500])
    yield Fact("vocabulary of reviews cut to 4,095 characters, as the reference cuts them", None, prepared.spec.d_input)
    source = text.find(place)
    if source is not None:
        train = [text for _, text in text.read(source, progress=False)["train"]]
        whole = vocabulary.characters(train, text.Text.min_freq)
        yield Fact("vocabulary of whole reviews, for comparison: some report about 135", None, len(whole))
    split = prepared.split("test")
    assert isinstance(split, Sequences)
    yield Fact("longest, shortest test review", None, [int(split.lengths().max()), int(split.lengths().min())])


def squares(place: Place) -> Iterator[Fact]:
    """Yield the facts of CIFAR-10 in two dimensions."""
    prepared = _prepared("cifar", place)
    yield Fact("train, val, test", CIFAR, list(prepared.spec.sizes.values()))
    yield Fact("axes, channels", [32, 32, 3], [*prepared.spec.axes, prepared.spec.d_input])
    for split in ("val", "test"):
        examples = prepared.split(split)
        assert isinstance(examples, Images)
        x, label = examples[0]
        yield Fact(f"first class of {split}, mean of its standardised image", None, [label, round(float(x.mean()), 4)])
    yield Fact("fingerprint", None, prepared.spec.fingerprint)


def photographs(place: Place) -> Iterator[Fact]:
    """Yield the facts of some images of ImageNet."""
    paths = sorted(_at(place, "imagenet_samples").glob("*/*.JPEG"))
    images = [pictures.decoded(path.read_bytes(), path.name) for path in paths]
    yield Fact("images that can be read, folders of classes", None, [len(images), len({path.parent for path in paths})])
    yield Fact("all in three channels", True, all(image.shape[2] == 3 for image in images))
    sides = [side for image in images for side in image.shape[:2]]
    yield Fact("shortest, longest side", None, [min(sides), max(sides)])


def expressions(place: Place) -> Iterator[Fact]:
    """Yield the facts of the test file of ListOps."""
    rows = list(listops.read_release(_at(place, "listops-1000/basic_test.tsv")))
    lengths = [len(tokens) for tokens, _ in rows]
    yield Fact("rows of basic_test.tsv", None, len(rows))
    yield Fact("classes in it", list(range(10)), sorted({label for _, label in rows}))
    yield Fact("no expression above 2,000 tokens", True, max(lengths) <= 2000)
    yield Fact("shortest, longest", None, [min(lengths), max(lengths)])


def paths(size: int) -> Check:
    """Return the check of Pathfinder images of one size."""

    def facts(place: Place) -> Iterator[Fact]:
        folder = _at(place, f"pathfinder/pathfinder{size}/{pathfinder.DIFFICULTY}")
        examples = pathfinder.read_metadata(folder)
        yield Fact("images in the metadata and on disk", True, all((folder / path).is_file() for path, _ in examples))
        yield Fact("images of each class", None, np.bincount([label for _, label in examples]).tolist())

    return facts


def clips(place: Place) -> Iterator[Fact]:
    """Yield the facts of clips of Speech Commands."""
    source = speech_commands.find(place)
    if source is None:
        raise DataError("There are no clips of Speech Commands.")
    names = speech_commands.names_of(source, speech_commands.WORDS)
    waves = [speech_commands.samples_of((source / name).read_bytes(), name) for name in names]
    yield Fact("clips that can be read", None, len(waves))
    yield Fact("no clip above one second", True, max(map(len, waves)) <= speech_commands.LENGTH)
    yield Fact("clips of a whole second", None, sum(len(wave) == speech_commands.LENGTH for wave in waves))
    for split, file in speech_commands.LISTS.items():
        listed = (source / file).read_text().split()
        yield Fact(f"{file}: lines, clips of {split} that are here", None, [len(listed), len({*listed} & {*names})])


def words(place: Place) -> Iterator[Fact]:
    """Yield the facts of the val and test texts of WikiText-2."""
    texts = wikitext.read(_at(place, "wikitext-2"))
    for split in ("val", "test"):
        lines = wikitext.lines(texts[split], split)
        tokens = vocabulary.encode_words(lines, vocabulary.words(lines))
        yield Fact(f"words of {split}, ends of lines included", wikitext.WikiText2.published[split], len(tokens))


CIFAR, MNIST = [45_000, 5_000, 10_000], [54_000, 6_000, 10_000]
DIGITS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
CHECKS: dict[str, Check] = {
    "sCIFAR": image("scifar", CIFAR, [1000] * 10, [0.4914, 0.4822, 0.4465], white=1, digits=4),
    "Image": image("image", CIFAR, [1000] * 10, [122.6], white=255, digits=1),
    "CIFAR-10, two dimensions": squares,
    "ImageNet-1k": photographs,
    "sMNIST": image("smnist", MNIST, DIGITS, [0.1307], white=1, digits=4),
    "Text": reviews,
    "ListOps": expressions,
    "Pathfinder": paths(32),
    "Path-X": paths(128),
    "Speech Commands": clips,
    "WikiText-2": words,
}


def _prepared(name: str, place: Place) -> Prepared:
    return DATASETS[name]().prepare(place, progress=False)


def _classified(prepared: Prepared, sizes: list[int], test: list[int]) -> Iterator[Fact]:
    yield Fact("train, val, test", sizes, list(prepared.spec.sizes.values()))
    for split, published in (("train", None), ("val", None), ("test", test)):
        examples = prepared.split(split)
        assert isinstance(examples, Pixels | Sequences)
        yield Fact(f"{split} examples of each class", published, np.bincount(examples.labels).tolist())
        ends = [*examples.labels[:3].tolist(), *examples.labels[-3:].tolist()]
        yield Fact(f"first three and last three classes of {split}", None, ends)
    yield Fact("fingerprint", None, prepared.spec.fingerprint)


def _at(place: Place, name: str) -> Path:
    assert place.data is not None
    if not (place.data / name).exists():
        raise DataError(f"{place.data} holds no {name}.")
    return place.data / name


def main(folder: Path) -> int:
    """Print the table of a folder; return 1 if a fact differs from its published value, else 0."""
    status = 0
    print(TITLE.format(today=f"{date.today():%Y-%m-%d}"))
    with TemporaryDirectory() as cache:
        for title, check in CHECKS.items():
            try:
                for fact in check(Place(folder, Path(cache))):
                    published = "" if fact.published is None else fact.published
                    mark = "" if fact.published is None else "=" if fact.met else "differs"
                    print(f"| {title} | {fact.name} | {published} | {fact.found} | {mark} |")
                    status |= not fact.met
            except DataError as error:
                print(f"| {title} | not checked: {error} | | | |")
    return status


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Name one folder that holds the original files: python -m ssm_data.published_data_facts FOLDER")
    sys.exit(main(Path(sys.argv[1])))
