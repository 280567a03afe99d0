"""HMDB-51: clips of films in which people perform one of 51 actions.

Kuehne et al., "HMDB: A Large Video Database for Human Motion Recognition" (ICCV 2011).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np

from ssm_data import archives, cache, parallel
from ssm_data.contract import Dataset, Place, Preparation, Prepared, Spec
from ssm_data.errors import DataError
from ssm_data.generators import miniatures
from ssm_data.options import Range, Side
from ssm_data.splits import AugmentedClips, Clips, Ragged, Videos, shuffled
from ssm_data.splits.pictures import film

CLASSES = 51
MINIATURE_CLASSES = 10
PUBLISHED = {"train": 3_570, "test": 1_530}
#: Tag of the videos of each split in the official lists.
TAGS = {"train": "1", "test": "2"}
FOLDERS = ("hmdb51", "HMDB51", "hmdb51_org", ".")
VIDEOS = ("videos", "hmdb51_org", ".")
LISTS = ("splits", "testTrainMulti_7030_splits", "test_train_splits", "../testTrainMulti_7030_splits", ".")
ARCHIVES = ("hmdb51_org.rar", "test_train_splits.rar")
#: Share of the train videos that becomes the validation split.
HELD_OUT = 0.1
SPLIT_SEED = 42
#: Mean and standard deviation of each channel, in [0, 1].
MOMENTS = (tuple(x / 255 for x in (110.2, 100.64, 96.0)), tuple(x / 255 for x in (58.1, 56.5, 55.3)))
#: Shorter side of a resized frame, relative to the size of the crop.
SHORTER = 256 / 224
UNPACK = (
    f"unpack {ARCHIVES[0]} with unrar or 7z to hmdb51/videos, there each of the 51 archives in it to a folder "
    f"of its class, and {ARCHIVES[1]} to hmdb51/splits"
)
HOW_TO = (
    f"Get {' and '.join(ARCHIVES)} (2.1 GB) from "
    f"https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database, {UNPACK}, "
    "and name the folder that holds hmdb51 with --data."
)


@dataclass(frozen=True, kw_only=True)
class HMDB51(Dataset):
    """Clips of a few seconds; the video files are packed into one array and decoded when they are read.

    Training reads one clip of each video, at a random position. Evaluation reads consecutive clips without overlap. The
    prediction of a video is the mean of the predictions of its clips; ``Clips.index`` holds the video of each clip.

    Args:
        split: number of the official split.
        validation: the official splits have no validation videos. ``held-out`` validates on a seeded tenth of the train
            videos; ``test`` validates on the test videos, as in the published results.
        size: height and width of a frame, in pixels.
        frames: number of frames that are taken from a clip.
        seconds: duration of a clip, in seconds.
        magnitude: magnitude of RandAugment on train clips, at most 10.
    """

    name: ClassVar[str] = "hmdb51"
    title: ClassVar[str] = "HMDB-51"

    split: Literal[1, 2, 3] = 1
    validation: Literal["held-out", "test"] = "held-out"
    size: Side = 224
    frames: Annotated[int, Range(1, 10_000)] = 24
    seconds: Annotated[float, Range(above=0, most=3600)] = 2.0
    magnitude: Annotated[float, Range(0, 10)] = 7.0

    def expected(self) -> Spec:
        size = miniatures.SIDE if self.miniature else self.size
        videos = miniatures.VIDEOS if self.miniature else PUBLISHED
        held_out = int(HELD_OUT * videos["train"]) if self.validation == "held-out" else 0
        clips = max(1, int(miniatures.FRAMES / miniatures.RATE / self.seconds)) if self.miniature else 1
        val = held_out or videos["test"]
        classes = MINIATURE_CLASSES if self.miniature else CLASSES
        # The videos of val and test are cut into clips; the number of clips depends on the lengths of the videos.
        sizes = {"train": videos["train"] - held_out, "val": clips * val, "test": clips * videos["test"]}
        axes = (self.frames, size, size)
        return self._classification(sizes, tokens=False, d_input=3, d_output=classes, axes=axes, chance=1 / classes)

    def _preparation(self, place: Place) -> Preparation:
        key = {"split": self.split, "miniature": self.miniature}
        if self.miniature:
            return Preparation(key, self._write_miniature, "generates videos", 10 << 20)
        folder, lists = find(place)
        if folder is None or lists is None:
            lacking = "list of splits" if folder else "videos"
            missing = f"{place.data or 'A folder that is named with --data'} holds no {lacking} of {self.title}."
            packed = [name for name in ARCHIVES if place.data and next(place.data.rglob(name), None)]
            remedy = f"{' and '.join(packed)} cannot be read: {UNPACK}." if packed else HOW_TO
            return Preparation(key, partial(self._write, Path(), Path()), "", missing=f"{missing} {remedy}")
        originals = [*archives.files(folder, "*/*.avi"), *archives.files(lists, f"*{self._suffix}")]
        return Preparation(key, partial(self._write, folder, lists), f"reads {folder}", 2 << 30, originals=originals)

    def _write(self, folder: Path, lists: Path, writer: cache.Writer, progress: bool) -> None:
        classes = sorted(path.name.removesuffix(self._suffix) for path in archives.files(lists, f"*{self._suffix}"))
        videos: dict[str, list[tuple[Path, int]]] = {split: [] for split in TAGS}
        for label, name in enumerate(classes):
            for split, files in read_split(lists / f"{name}{self._suffix}").items():
                videos[split].extend((folder / name / file, label) for file in files)
        if (sizes := {split: len(found) for split, found in videos.items()}) != PUBLISHED or len(classes) != CLASSES:
            raise DataError(f"{lists} lists {sizes} videos of {len(classes)} classes, not {PUBLISHED} of 51. {HOW_TO}")
        rows = [row for split in TAGS for row in videos[split]]
        paths = [path for path, _ in rows]
        if lacking := [path for path in paths if not path.is_file()]:
            raise DataError(f"{folder} lacks {len(lacking):,} videos, {lacking[0]} among them. {HOW_TO}")
        # Counting decodes every frame, so it finds broken videos now.
        probed = parallel.mapped(probe, paths, title="HMDB-51: decoding", progress=progress)
        counts, rates = zip(*probed, strict=True)
        packed = Ragged.empty(writer, "files", [path.stat().st_size for path in paths], np.uint8)
        for row, path in enumerate(paths):
            packed[row][:] = np.frombuffer(path.read_bytes(), np.uint8)
        self._store(writer, counts, rates, [label for _, label in rows], PUBLISHED["train"], classes)

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        videos = miniatures.videos()
        contents = [np.frombuffer(content, np.uint8) for content, _ in videos]
        Ragged.store(writer, "files", contents)
        labels = [label for _, label in videos]
        frames, rate = miniatures.FRAMES, miniatures.RATE
        classes = [f"texture {number}" for number in range(MINIATURE_CLASSES)]
        self._store(writer, [frames] * len(videos), [rate] * len(videos), labels, miniatures.VIDEOS["train"], classes)

    def _store(
        self,
        writer: cache.Writer,
        counts: Iterable[int],
        rates: Iterable[float],
        labels: list[int],
        train: int,
        classes: list[str],
    ) -> None:
        writer.array("counts", np.array(list(counts)))
        writer.array("rates", np.array(list(rates)))
        writer.array("labels", np.array(labels))
        writer.array("train_order", shuffled(train, SPLIT_SEED))
        writer.meta["classes"] = classes

    def _open(self, entry: cache.Entry) -> Prepared:
        from ssm_data import vision

        counts, labels, order = (entry.array(name) for name in ("counts", "labels", "train_order"))
        videos = Videos(Ragged.open(entry, "files"), counts)
        spans = np.maximum(1, np.round(self.seconds * entry.array("rates"))).astype(int)
        size = videos.frames(0, np.zeros(1, dtype=int)).shape[1] if self.miniature else self.size
        shorter = round(SHORTER * size)
        seen = vision.centred(size, shorter, MOMENTS)
        held_out = int(HELD_OUT * len(order)) if self.validation == "held-out" else 0
        test = np.arange(len(order), len(labels))
        chosen = {
            "train": np.sort(order[held_out:]),
            "val": np.sort(order[:held_out]) if held_out else test,
            "test": test,
        }
        splits: dict[str, Clips] = {}
        for split, index in chosen.items():
            index = index[self._subset(split, len(index))]
            if split == "train":
                view = vision.filmed(size, shorter, self.magnitude, MOMENTS)
                starts = np.zeros(len(index), dtype=int)
                splits[split] = AugmentedClips(index, labels, videos, starts, spans, self.frames, view)
            else:
                clips = np.maximum(1, counts[index] // spans[index])
                starts = np.concatenate([span * np.arange(n) for span, n in zip(spans[index], clips, strict=True)])
                index = np.repeat(index, clips)
                splits[split] = Clips(index, labels, videos, starts, spans, self.frames, seen)
        return self._classified(entry, splits, classes=entry.meta["classes"], view={"size": size})

    @property
    def _suffix(self) -> str:
        return f"_test_split{self.split}.txt"


def find(place: Place) -> tuple[Path | None, Path | None]:
    """Return the folder of the videos (with one folder per class) and the folder of the lists; None if missing."""
    roots = [place.data / name for name in FOLDERS] if place.data else []
    folders = (root / name for root in roots for name in VIDEOS)
    folder = next((path for path in folders if next(path.glob("*/*.avi"), None)), None)
    lists = (root / name for root in roots for name in LISTS)
    return folder, next((path for path in lists if next(path.glob("*_test_split1.txt"), None)), None)


def read_split(path: Path) -> dict[str, list[str]]:
    """Return the names of the train videos and of the test videos of a class; videos of neither have the tag 0.

    Raises:
        DataError: a line has another form.
    """
    names: dict[str, list[str]] = {split: [] for split in TAGS}
    for number, line in enumerate(archives.content_of(path).decode(errors="replace").splitlines(), 1):
        name, _, tag = line.strip().rpartition(" ")
        if tag not in ("0", *TAGS.values()) or not name:
            raise DataError(f"Line {number} of {path} is {line!r:.80}, which names no video and its tag. {HOW_TO}")
        for split, wanted in TAGS.items():
            if tag == wanted:
                names[split].append(name.strip())
    return names


def probe(path: Path) -> tuple[int, float]:
    """Return the number of frames of a video, and its frames per second."""
    import av

    content = path.read_bytes()
    count = sum(1 for _ in film(content, str(path)))
    with av.open(path, "r") as container:
        rate = container.streams.video[0].average_rate
    if not count or not rate:
        raise DataError(f"{path} has no frames; get the file again.")
    return count, float(rate)
