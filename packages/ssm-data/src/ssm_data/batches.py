"""Batches for training and evaluation: their order, and the loader that reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler

from ssm_data.collate import collate
from ssm_data.contract import Batch, Prepared
from ssm_data.splits import Endless, Stream, Window

POOL = 64


class _Epochs(Sampler[list[Any]]):
    """Batches of what a split is indexed with, a function of the epoch.

    Of several processes that read the same batches, number ``rank`` of ``world_size`` gives its share of each: every
    ``world_size``-th element. The shares of all are the batch. A batch of which nothing is left for a process is left
    out there.

    ``start_batch`` may be set to skip that many batches of the next epoch only, to resume within it.
    """

    def __init__(self, batch_size: int, rank: int, world_size: int) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
        if batch_size % world_size:
            raise ValueError(f"batch_size is {batch_size}; {world_size} processes cannot share it equally.")
        super().__init__()
        self.epoch = 0
        self.start_batch = 0
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of a whole epoch, also where ``start_batch`` skips some."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[list[Any]]:
        start, self.start_batch = self.start_batch, 0
        return (batch[self.rank :: self.world_size] for batch in self._batches()[start : len(self)])

    def _batches(self) -> Sequence[list[Any]]:
        """The batches of all processes together."""
        raise NotImplementedError


class Batches(_Epochs):
    """Indices batch by batch, a function of (seed, epoch) alone.

    Args:
        size: number of examples.
        batch_size: examples in a batch; the last one may hold fewer.
        shuffle: a new order every epoch; otherwise the order of the split.
        seed: of the shuffling.
        drop_last: leave out a last batch that is not full.
        lengths: group examples of similar length, to pad less: shuffled as before, sorted by length within
            pools of 64 batches, and the batches shuffled again. Needs ``shuffle``.
        fresh: of data without end, every epoch takes the next ``size`` examples.
        repeats: of fresh data, times that an epoch takes the example of a number, which it does of fewer: number n is
            also n + ``size``, n + 2 ``size``, and so on. In a batch these are as far apart as they can be.
        rank, world_size: the share of each batch.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        drop_last: bool = False,
        lengths: np.ndarray | None = None,
        fresh: bool = False,
        repeats: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(batch_size, rank, world_size)
        if size < world_size:
            raise ValueError(f"{world_size} processes cannot share {size} examples.")
        if drop_last and size < batch_size:
            raise ValueError(f"drop_last leaves nothing of {size} examples in batches of {batch_size}.")
        if shuffle and not drop_last and 0 < size % batch_size < world_size:
            raise ValueError(
                f"The last batch of an epoch holds {size % batch_size} of {size} examples, fewer than {world_size} "
                "processes; set drop_last, or another batch_size."
            )
        self.size = size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.sort_lengths = lengths
        self.fresh = fresh
        self.repeats = repeats

    def __len__(self) -> int:
        whole, rest = divmod(self.size, self.batch_size)
        return whole + (rest > self.rank and not self.drop_last)

    def _batches(self) -> list[list[int]]:
        if not self.shuffle:
            return self._cut(np.arange(self.size))
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(self.size)
        if self.sort_lengths is None:
            return self._cut(self._repeated(order))
        pool = POOL * self.batch_size
        for start in range(0, self.size, pool):
            part = order[start : start + pool]
            order[start : start + pool] = part[np.argsort(self.sort_lengths[part], kind="stable")]
        batches = self._cut(order)
        return [batches[i] for i in rng.permutation(len(batches))]

    def _repeated(self, order: np.ndarray) -> np.ndarray:
        """The first examples of an order, each as ``repeats`` numbers."""
        place = np.arange(self.size)
        example, copy = np.divmod(place, self.repeats)
        return (order[example] + self.size * copy)[np.lexsort((copy, place // self.batch_size))]

    def _cut(self, order: np.ndarray) -> list[list[int]]:
        size = len(order) - len(order) % self.batch_size if self.drop_last else len(order)
        starts = range(0, size, self.batch_size)
        first = self.epoch * self.repeats * self.size if self.fresh else 0
        return [(first + order[start : start + self.batch_size]).tolist() for start in starts]


class Windows(_Epochs):
    """Windows of a stream batch by batch: the stream is cut into ``batch_size`` rows that are read side by side.

    Rows of training are equally long, what remains is left out, and every epoch rolls each row by an offset
    of its own, a function of (seed, epoch). Otherwise each row begins with the last token of the row before, so
    that every token but the first is a target exactly once, whatever the batch size; the last rows may be
    shorter.

    Args:
        stream: what is read.
        batch_size: rows.
        roll: rows of training.
        seed: of the offsets.
        drop_last: leave out a last window that is shorter than the others.
        rank, world_size: the share of the rows.
    """

    def __init__(
        self,
        stream: Stream,
        batch_size: int,
        *,
        roll: bool,
        seed: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(batch_size, rank, world_size)
        tokens = len(stream) + 1
        if tokens < 2 * batch_size:
            raise ValueError(f"{tokens:,} tokens cannot be cut into {batch_size:,} rows; choose a smaller batch_size.")
        if roll:
            length = tokens // batch_size
            self.rows = [(row * length, length) for row in range(batch_size)]
        else:
            length = -(-(tokens - 1) // batch_size) + 1
            starts = [row * (length - 1) for row in range(batch_size)]
            self.rows = [(start, max(1, min(length, tokens - start))) for start in starts]
        targets = length - 1
        if drop_last and targets < stream.l_max:
            raise ValueError(f"drop_last leaves nothing of rows of {targets:,} in windows of {stream.l_max:,}.")
        longest = max(length - 1 for _, length in self.rows[rank::world_size])
        if not longest:
            raise ValueError(f"{tokens:,} tokens are too few for {world_size} processes.")
        self.l_max = stream.l_max
        self.count = targets // self.l_max if drop_last else -(-longest // self.l_max)
        self.roll = roll
        self.seed = seed

    def __len__(self) -> int:
        return self.count

    def _batches(self) -> list[list[Window]]:
        offsets = [0] * len(self.rows)
        if self.roll:
            rng = np.random.default_rng([self.seed, self.epoch])
            offsets = rng.integers(0, self.rows[0][1], len(self.rows)).tolist()
        return [
            [Window(*row, offset, number * self.l_max) for row, offset in zip(self.rows, offsets, strict=True)]
            for number in range(self.count)
        ]


def loader(
    prepared: Prepared,
    split: str,
    batch_size: int,
    *,
    seed: int,
    workers: int = 0,
    pin_memory: bool = False,
    drop_last: bool = False,
    bucket: bool = False,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[Batch]:
    """Loader of a split; ``train`` is shuffled by (seed, epoch), the others come in order and whole.

    Its ``batch_sampler`` is a :class:`Batches`, or :class:`Windows` of a stream, with ``set_epoch`` and
    ``start_batch``. The batches do not depend on ``workers``.

    Args:
        batch_size: of all processes together.
        drop_last: leave out a last train batch that is not full, as the published recipes do.
        bucket: group train examples of similar length.
        rank, world_size: of several processes, number ``rank`` reads its share of each batch. Training gives all of
            them equally many batches; in evaluation each example is read once, by one of them.

    Raises:
        ValueError: sizes and number of processes do not fit.
    """
    train = split == "train"
    data = prepared.split(split)
    repeats = 1
    if fresh := train and isinstance(data, Endless):
        repeats = data.repeats
        data = data.seeded(seed)
    batches: _Epochs
    if isinstance(data, Stream):
        batches = Windows(
            data,
            batch_size,
            roll=train,
            seed=seed,
            drop_last=drop_last and train,
            rank=rank,
            world_size=world_size,
        )
    else:
        batches = Batches(
            len(data),
            batch_size,
            shuffle=train,
            seed=seed,
            drop_last=drop_last and train,
            lengths=prepared.lengths(split) if bucket and train else None,
            fresh=fresh,
            repeats=repeats,
            rank=rank,
            world_size=world_size,
        )
    return DataLoader(
        data,  # type: ignore[arg-type]
        batch_sampler=batches,
        collate_fn=partial(collate, spec=prepared.spec),
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
    )
