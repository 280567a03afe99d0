"""Generate tiny data sets that replace the real ones: they pose the same kind of task and are learnt in seconds."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

TRAIN, TEST = 4_000, 500
SIZES = {"train": TRAIN, "val": TEST, "test": TEST}
#: Sizes of the splits if a tenth of the train examples becomes the validation split.
HELD_OUT_SIZES = {"train": TRAIN - TRAIN // 10, "val": TRAIN // 10, "test": TEST}
FACES = {"train": TRAIN, "val": TEST // 2, "test": TEST // 2}
#: Height and width of an image, in pixels.
SIDE = 16
#: Number of samples of a sound.
SOUND = 1024
#: Maximum length of a review, including the end symbol, and vocabulary size, including the special symbols.
LONGEST_REVIEW, REVIEW_SYMBOLS = 172, 26
#: The same for papers.
LONGEST_PAPER, PAPER_SYMBOLS = 113, 27
#: Vocabulary sizes of the sentences, in words and in bytes.
SENTENCE_WORDS, SENTENCE_BYTES = 30, 23
#: Number of predicted words in each split of the sentences.
STREAM_WORDS = {"train": 23_999, "val": 2_999, "test": 2_999}
#: Number of predicted bytes in each split of the sentences.
STREAM_BYTES = {"train": 92_505, "val": 11_559, "test": 11_532}
VIDEOS = {"train": 1_000, "test": 200}
#: Number of frames of a video, and frames per second.
FRAMES, RATE = 16, 8

NOUNS = [
    "plot",
    "cast",
    "scene",
    "music",
    "story",
    "actor",
    "script",
    "ending",
    "camera",
    "dialogue",
    "pace",
    "hero",
]
GOOD = ["superb", "moving", "clever", "charming", "brilliant", "fresh", "warm", "gripping"]
BAD = ["dull", "clumsy", "tedious", "awful", "stale", "hollow", "lifeless", "messy"]
TOPICS = (
    ["parser", "grammar", "syntax", "treebank", "clause"],
    ["speech", "acoustic", "phoneme", "prosody", "voice"],
    ["translation", "bilingual", "alignment", "decoder", "corpus"],
    ["dialogue", "agent", "turn", "intent", "response"],
)
FILLERS = [
    "we",
    "show",
    "that",
    "the",
    "of",
    "a",
    "new",
    "for",
    "with",
    "results",
    "on",
    "method",
    "and",
    "in",
]


def reviews() -> dict[str, list[tuple[int, str]]]:
    """Generate reviews of a few sentences, ``(class, text)``; most of their adjectives agree with the class."""
    rng = np.random.default_rng(0)
    return {split: [_review(rng) for _ in range(size)] for split, size in (("train", TRAIN), ("test", TEST))}


def _review(rng: np.random.Generator) -> tuple[int, str]:
    label = int(rng.integers(2))
    sentences = rng.choice([3, 5, 7])
    minority = rng.integers(0, sentences // 2)
    good = rng.permutation(sentences) >= minority if label else rng.permutation(sentences) < minority
    words = [rng.choice(GOOD if is_good else BAD) for is_good in good]
    return label, " ".join(f"the {rng.choice(NOUNS)} was {word}." for word in words)


def papers() -> dict[str, list[tuple[int, str, str]]]:
    """Generate pairs of papers, ``(class, text, text)``; the papers of class 1 share a topic."""
    rng = np.random.default_rng(0)
    sizes = {"train": TRAIN, "val": TEST, "test": TEST}
    return {split: [_pair(rng) for _ in range(size)] for split, size in sizes.items()}


def _pair(rng: np.random.Generator) -> tuple[int, str, str]:
    label = int(rng.integers(2))
    first, other = rng.permutation(len(TOPICS))[:2]
    return label, _paper(rng, first), _paper(rng, first if label else other)


def _paper(rng: np.random.Generator, topic: int) -> str:
    words = np.where(rng.random(12) < 0.4, rng.choice(TOPICS[topic], 12), rng.choice(FILLERS, 12))
    return " ".join(words)


def textures() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Generate grey images of 16 x 16 pixels, ten classes of textures and shapes: (K, 16, 16) uint8, (K,) uint8."""
    rng = np.random.default_rng(0)
    splits = {}
    for split, size in (("train", TRAIN), ("test", TEST)):
        labels = rng.integers(0, 10, size).astype(np.uint8)
        clean = np.stack([_texture(rng, label) for label in labels])
        contrast = rng.uniform(60, 110, (size, 1, 1)) * rng.choice([-1, 1], (size, 1, 1))
        noise = rng.normal(0, 12, clean.shape)
        splits[split] = (128 + contrast * clean + noise).clip(0, 255).astype(np.uint8), labels
    return splits


def coloured_textures() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Generate the same textures, each image in another colour: (K, 16, 16, 3) uint8, (K,) uint8."""
    rng = np.random.default_rng(0)
    splits = {}
    for split, (images, labels) in textures().items():
        tint = rng.uniform(0.4, 1.2, (len(labels), 1, 1, 3))
        coloured = 128 + tint * (images[..., None].astype(float) - 128)
        splits[split] = coloured.clip(0, 255).astype(np.uint8), labels
    return splits


def faces(attributes: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Generate coloured textures whose class determines all attributes: (K, 16, 16, 3) uint8, (K, attributes) bool."""
    has = np.random.default_rng(0).random((10, attributes)) < 0.4
    splits = {split: (images, has[labels]) for split, (images, labels) in coloured_textures().items()}
    images, labels = splits["test"]
    return {"train": splits["train"], "val": (images[::2], labels[::2]), "test": (images[1::2], labels[1::2])}


def videos() -> list[tuple[bytes, int]]:
    """Generate video files of moving coloured textures (16 x 16 pixels, 16 frames, 8 per second), and their classes.

    The first ``VIDEOS["train"]`` videos are for training.
    """
    rng = np.random.default_rng(0)
    textures = coloured_textures()
    found = []
    for split, size in VIDEOS.items():
        images, labels = textures[split]
        steps = rng.integers(1, 3, (size, 2))
        for image, label, (down, right) in zip(images[:size], labels[:size], steps, strict=True):
            frames = [np.roll(image, (time * down, time * right), axis=(0, 1)) for time in range(FRAMES)]
            found.append((encoded_video(frames, RATE), int(label)))
    return found


def encoded_video(frames: Sequence[np.ndarray], rate: int) -> bytes:
    """Encode frames (h, w, 3) uint8 as an AVI file without compression; the same frames give the same bytes."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="avi", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("rawvideo", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "bgr24"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def _texture(rng: np.random.Generator, label: int) -> np.ndarray:
    """Draw one of five gratings or five shapes, with values from -1 to 1."""
    y, x = np.mgrid[:16, :16]
    phase = rng.integers(0, 4)
    gratings = (y + phase, x + phase, x + y + phase, x - y + phase)
    if label < 4:
        return np.where(gratings[label] % 4 < 2, 1.0, -1.0)
    if label == 4:
        return np.where(((x + phase) // 2 + y // 2) % 2, 1.0, -1.0)
    row, column = rng.uniform(5, 10, 2)
    radius = rng.uniform(3.5, 5)
    down, right = np.abs(y - row), np.abs(x - column)
    distance = np.hypot(down, right)
    shapes = (
        distance < radius,
        np.abs(distance - radius) < 1,
        np.maximum(down, right) < radius,
        (np.minimum(down, right) < 1) & (np.maximum(down, right) < radius + 1),
        np.abs(down - right) < 1,
    )
    return np.where(shapes[label - 5], 1.0, -1.0)


def tones(classes: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Generate noisy sounds of 1,024 samples, with one pitch for each class: (K, 1024) int16, (K,) uint8."""
    rng = np.random.default_rng(0)
    time = np.arange(1024)
    pitches = np.geomspace(
        0.01, 0.2, classes
    )  # cycles per sample; every second sample is still enough to represent them
    splits = {}
    for split, size in (("train", TRAIN), ("val", TEST), ("test", TEST)):
        labels = rng.permutation(size) % classes
        phase, loudness = rng.uniform(0, 2 * np.pi, (size, 1)), rng.uniform(1000, 4000, (size, 1))
        clean = loudness * np.sin(2 * np.pi * pitches[labels, None] * time + phase)
        splits[split] = (clean + rng.normal(0, 300, clean.shape)).astype(np.int16), labels.astype(np.uint8)
    return splits


def sentences() -> dict[str, list[str]]:
    """Generate sentences, one per line; each noun has its own three adjectives."""
    rng = np.random.default_rng(0)
    qualities = {noun: rng.choice(GOOD + BAD, 3, replace=False) for noun in NOUNS}
    splits = {}
    for split, size in (("train", TRAIN), ("val", TEST), ("test", TEST)):
        nouns = rng.choice(NOUNS, size)
        splits[split] = [f"the {noun} was {rng.choice(qualities[noun])} ." for noun in nouns]
    return splits


def seasons(length: int) -> np.ndarray:
    """Generate hourly values with a daily period, a weekly period and noise, (length,) float64."""
    hours = np.arange(length)
    day, week = np.sin(2 * np.pi * hours / 24), np.sin(2 * np.pi * hours / (24 * 7))
    return 10 + 3 * day + 2 * week + np.random.default_rng(0).normal(0, 0.5, length)
