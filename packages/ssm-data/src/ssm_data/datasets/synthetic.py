"""Memory tasks (copying, adding, delay, reconstruct); their examples are generated when they are read.

Copying and adding are by Arjovsky et al., "Unitary Evolution Recurrent Neural Networks" (arXiv:1511.06464, section 4).
Delay and reconstruction are by Gu et al., "How to Train Your HiPPO" (arXiv:2206.12037, section 4).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass, replace
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np

from ssm_data import cache
from ssm_data.contract import SPLITS, Dataset, Place, Preparation, Prepared, Spec
from ssm_data.options import MOST_STEPS, Length, Range, Seed, TextLength
from ssm_data.splits import EndlessSynthetic, Synthetic

#: Input and target.
Example = tuple[np.ndarray, np.ndarray]
#: Root mean square of the noise.
RMS = 0.5
MINIATURE = {"train": 2_000, "val": 400, "test": 400}


class Shape(NamedTuple):
    """The fields of a spec that depend on the options of a task."""

    d_input: int
    d_output: int
    l_max: int
    l_output: int


@dataclass(frozen=True, kw_only=True)
class _Task(Dataset):
    """Base of the tasks: an example is a function of (seed, split, index).

    Args:
        seed: seed of the examples.
    """

    sizes: ClassVar[dict[str, int]]
    target: ClassVar[Literal["class", "value"]] = "value"
    endless: ClassVar[bool] = False

    seed: Seed = 0

    def _preparation(self, place: Place) -> Preparation:
        options = {name: value for name, value in asdict(self).items() if name != "limit"}
        return Preparation(options, self._write, "generates examples as they are read", 1 << 20)

    def _splits(self) -> dict[str, Synthetic]:
        sizes = self._sizes(MINIATURE if self.miniature else self.sizes)
        kinds = {split: EndlessSynthetic if self.endless and split == "train" else Synthetic for split in SPLITS}
        return {
            split: kinds[split](self.draw, sizes[split], (self.seed, number)) for number, split in enumerate(SPLITS)
        }

    def _write(self, writer: cache.Writer, progress: bool) -> None:
        """Store the first example of each split; its checksum shows whether two machines generate the same data."""
        for split, examples in self._splits().items():
            for name, values in zip(("input", "target"), examples[0], strict=True):
                writer.array(f"{split}_{name}", values)

    def expected(self) -> Spec:
        tokens = self.target == "class"
        return Spec(
            tokens=tokens,
            **self.shape._asdict(),
            target=self.target,
            lengths=False,
            pair=False,
            stream=False,
            metric="accuracy" if tokens else "mse",
            chance=self.chance,
            sizes=self._sizes(MINIATURE if self.miniature else self.sizes),
        )

    def _open(self, entry: cache.Entry) -> Prepared:
        spec = self.expected()
        return Prepared(replace(spec, fingerprint=cache.digest([entry.fingerprint, spec.sizes])), self._splits())

    def _at_most(self, miniature: int, steps: int) -> int:
        """Return ``steps``; for a miniature, at most ``miniature`` steps."""
        return min(steps, miniature) if self.miniature else steps

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Example:
        """Draw one example."""

    @property
    @abstractmethod
    def shape(self) -> Shape: ...

    @property
    @abstractmethod
    def chance(self) -> float:
        """Return the expected metric of the best constant prediction."""


@dataclass(frozen=True, kw_only=True)
class Copying(_Task):
    """Tokens, then blanks, then as many markers as tokens; at the markers a model repeats the tokens in order.

    The blank is 0, tokens are 1 to ``vocabulary - 2``, and the marker is ``vocabulary - 1``. Every epoch of training
    has new examples.

    Args:
        memory: number of tokens to remember.
        blanks: number of blanks.
        vocabulary: number of symbols, including the blank and the marker.
    """

    name: ClassVar[str] = "copying"
    title: ClassVar[str] = "Copying"
    sizes: ClassVar[dict[str, int]] = {"train": 10_000, "val": 1_000, "test": 1_000}
    target: ClassVar[Literal["class", "value"]] = "class"
    endless: ClassVar[bool] = True

    memory: Length = 1024
    blanks: Annotated[int, Range(0, MOST_STEPS)] = 0
    vocabulary: Annotated[int, Range(3, MOST_STEPS)] = 64

    def draw(self, rng: np.random.Generator) -> Example:
        memory = self._memory
        tokens = rng.integers(1, self.vocabulary - 1, memory)
        markers = np.full(memory, self.vocabulary - 1)
        return np.concatenate([tokens, np.zeros(self.blanks, dtype=np.int64), markers]), tokens

    @property
    def _memory(self) -> int:
        return self._at_most(8, self.memory)

    @property
    def shape(self) -> Shape:
        return Shape(self.vocabulary, self.vocabulary, 2 * self._memory + self.blanks, self._memory)

    @property
    def chance(self) -> float:
        return 1 / (self.vocabulary - 2)


@dataclass(frozen=True, kw_only=True)
class Adding(_Task):
    """Numbers in [0, 1]; one number in each half is marked, and a model predicts the sum of both.

    Args:
        l_max: number of steps.
    """

    name: ClassVar[str] = "adding"
    title: ClassVar[str] = "Adding"
    sizes: ClassVar[dict[str, int]] = {"train": 45_000, "val": 5_000, "test": 5_000}

    l_max: TextLength = 1000

    def draw(self, rng: np.random.Generator) -> Example:
        length = self.shape.l_max
        x = np.zeros((length, 2), dtype=np.float32)
        x[:, 0] = rng.random(length)
        marked = [rng.integers(0, length // 2), rng.integers(length // 2, length)]
        x[marked, 1] = 1
        return x, x[marked, 0].sum(keepdims=True)

    @property
    def shape(self) -> Shape:
        return Shape(2, 1, self._at_most(50, self.l_max), 0)

    @property
    def chance(self) -> float:
        return 1 / 6  # variance of the sum of two uniform numbers


@dataclass(frozen=True, kw_only=True)
class _Noise(_Task):
    """Base of the tasks on band-limited white noise.

    Args:
        l_max: number of steps.
        step: duration of a step, in seconds.
        cutoff: highest frequency of the noise, in Hertz.
    """

    sizes: ClassVar[dict[str, int]] = {"train": 16_384, "val": 1_024, "test": 1_024}

    l_max: TextLength = 4000
    step: Annotated[float, Range(above=0, most=1e6)]
    cutoff: Annotated[float, Range(above=0, most=1e12)]

    def __post_init__(self) -> None:
        super().__post_init__()
        highest_frequency(self._length, self.step, self.cutoff)

    def _require(self, option: str, least: int, most: int) -> None:
        if not least <= (value := getattr(self, option)) <= most:
            raise ValueError(f"{option} is {value}; of {self.l_max} steps it must be from {least} to {most}.")

    @property
    def _length(self) -> int:
        return self._at_most(200, self.l_max)

    def _noise(self, rng: np.random.Generator) -> np.ndarray:
        return white_noise(rng, self._length, self.step, self.cutoff)


@dataclass(frozen=True, kw_only=True)
class Delay(_Noise):
    """Noise; a model predicts the same noise delayed by ``lag`` steps, and zeros during the first ``lag`` steps.

    Args:
        lag: delay, in steps.
    """

    name: ClassVar[str] = "delay"
    title: ClassVar[str] = "Delay"

    step: Annotated[float, Range(above=0, most=1e6)] = 2.5e-4
    cutoff: Annotated[float, Range(above=0, most=1e12)] = 1000.0
    lag: Annotated[int, Range(0, MOST_STEPS)] = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("lag", 0, self.l_max - 1)

    def draw(self, rng: np.random.Generator) -> Example:
        noise = self._noise(rng)[:, None]
        late = np.zeros_like(noise)
        late[self._lag :] = noise[: self._length - self._lag]
        return noise, late

    @property
    def _lag(self) -> int:
        return self._at_most(20, self.lag)

    @property
    def shape(self) -> Shape:
        return Shape(1, 1, self._length, self._length)

    @property
    def chance(self) -> float:
        return RMS**2 * (1 - self._lag / self._length)


@dataclass(frozen=True, kw_only=True)
class Reconstruct(_Noise):
    """Noise; at its end a model predicts its last ``memory`` steps in one output.

    Args:
        memory: number of steps to predict.
    """

    name: ClassVar[str] = "reconstruct"
    title: ClassVar[str] = "Reconstruct"

    step: Annotated[float, Range(above=0, most=1e6)] = 1e-3
    cutoff: Annotated[float, Range(above=0, most=1e12)] = 100.0
    memory: Length = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("memory", 1, self.l_max)

    def draw(self, rng: np.random.Generator) -> Example:
        noise = self._noise(rng)
        return noise[:, None], noise[-self.shape.d_output :]

    @property
    def shape(self) -> Shape:
        return Shape(1, self._at_most(20, self.memory), self._length, 0)

    @property
    def chance(self) -> float:
        return RMS**2


def highest_frequency(length: int, step: float, cutoff: float) -> int:
    """Return the index of the highest frequency of the Fourier transform of ``length`` steps up to ``cutoff``.

    Raises:
        ValueError: no frequency is below the cutoff, or the cutoff is above half of the sampling rate.
    """
    highest = int(cutoff * step * length)
    if not 1 <= highest <= length // 2:
        raise ValueError(
            f"A cutoff of {cutoff:g} Hz is out of range: {length:,} steps of {step:g} s have frequencies "
            f"from {1 / (step * length):g} to {0.5 / step:g} Hz."
        )
    return highest


def white_noise(rng: np.random.Generator, length: int, step: float, cutoff: float) -> np.ndarray:
    """Draw periodic Gaussian noise (length,) float32 without frequencies above ``cutoff``; its root mean square is 0.5.

    The period is rolled so that the noise begins at the value that is nearest to zero.

    Raises:
        ValueError: no frequency is below the cutoff, or the cutoff is above half of the sampling rate.
    """
    highest = highest_frequency(length, step, cutoff)
    spectrum = np.zeros(length // 2 + 1, dtype=np.complex128)
    spectrum[1 : highest + 1] = rng.normal(size=highest) + 1j * rng.normal(size=highest)
    noise = np.fft.irfft(spectrum, length)
    noise *= RMS / np.sqrt(np.mean(noise**2))
    return np.roll(noise, -int(np.argmin(np.abs(noise)))).astype(np.float32)
