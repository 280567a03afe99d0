"""Order of the batches in training and evaluation, and the loader that reads them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing.connection import arbitrary_address  # type: ignore[attr-defined]
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler

from ssm_data.collate import collate
from ssm_data.contract import Batch, Prepared
from ssm_data.errors import DataError
from ssm_data.splits import Endless, Stream, Window

#: Number of batches whose examples are sorted by length together.
POOL = 64
#: Maximum length of the path of a Unix socket, in bytes: 107 on Linux, 103 on macOS.
LONGEST_SOCKET = 103


class _Epochs(Sampler[list[Any]]):
    """Base of both samplers: yield the batches of one epoch; a batch lists the indices or windows of a split.

    The batches are a function of the epoch. Every iteration gives the same batches, because torch's loader asks twice
    for the iterator when it starts persistent workers.

    If several processes read the same batches, process ``rank`` of ``world_size`` gets its share of each batch: every
    ``world_size``-th element. All shares together are the batch. A process skips a batch if its share is empty.
    """

    def __init__(self, batch_size: int, rank: int, world_size: int) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}; with {world_size} processes it must be from 0 to {world_size - 1}.")
        if batch_size % world_size:
            raise ValueError(f"batch_size is {batch_size}; {world_size} processes cannot share it equally.")
        super().__init__()
        self.epoch = 0
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self._start = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration. It begins at batch 0, unless :meth:`start_at` chose this epoch.

        Raises:
            ValueError: the epoch is negative.
        """
        if epoch < 0:
            raise ValueError(f"The epoch is {epoch}; it must be at least 0.")
        if epoch != self.epoch:
            self._start = 0
        self.epoch = epoch

    def start_at(self, epoch: int, batch: int) -> None:
        """Resume inside an epoch: skip its first ``batch`` batches in every iteration until another epoch is chosen.

        Raises:
            ValueError: the epoch is negative, or has no such batch.
        """
        if not 0 <= batch < len(self):
            raise ValueError(f"Batch {batch} is not in an epoch of {len(self)} batches.")
        self.set_epoch(epoch)
        self._start = batch

    def __len__(self) -> int:
        """Return the number of batches in a whole epoch, even if :meth:`start_at` skips some of them."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[list[Any]]:
        return (batch[self.rank :: self.world_size] for batch in self._batches()[self._start : len(self)])

    def _batches(self) -> Sequence[list[Any]]:
        """Return the batches of all processes together."""
        raise NotImplementedError


class Batches(_Epochs):
    """Yield the indices of the examples of each batch, as a function of (seed, epoch) alone.

    Args:
        size: number of examples.
        batch_size: examples in a batch of all processes together; the last batch may hold fewer.
        shuffle: draw a new order every epoch; otherwise keep the order of the split.
        seed: seed of the shuffling.
        drop_last: leave out the last batch if it is not full.
        lengths: length of each example. If given, a batch holds examples of similar length, which reduces padding:
            the shuffled examples are sorted by length within pools of 64 batches, then the batches are shuffled.
            ``lengths`` has an effect only with ``shuffle``.
        fresh: the split has no last example (:class:`ssm_data.splits.Endless`), and every epoch takes the next
            ``size`` examples.
        repeats: number of times that an epoch takes an example of a ``fresh`` split; the epoch then takes
            ``size / repeats`` different examples. The copies of example n have the indices n, n + ``size``,
            n + 2 ``size``, and so on, and are placed as far apart in a batch as possible.
        rank, world_size: this process, and the number of processes that share each batch.
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
        """Return the indices of the first examples of an order, each of them ``repeats`` times."""
        place = np.arange(self.size)
        example, copy = np.divmod(place, self.repeats)
        return (order[example] + self.size * copy)[np.lexsort((copy, place // self.batch_size))]

    def _cut(self, order: np.ndarray) -> list[list[int]]:
        size = len(order) - len(order) % self.batch_size if self.drop_last else len(order)
        starts = range(0, size, self.batch_size)
        first = self.epoch * self.repeats * self.size if self.fresh else 0
        return [(first + order[start : start + self.batch_size]).tolist() for start in starts]


class Windows(_Epochs):
    """Yield the windows of a stream, batch by batch. The stream is cut into ``batch_size`` rows, read in parallel.

    In training all rows have the same length, the rest of the stream is left out, and every epoch rolls each row by an
    offset that is a function of (seed, epoch). In evaluation each row begins with the last token of the previous row.
    Every token except the first is therefore a target exactly once, for any batch size. The last rows may be shorter.

    Args:
        stream: the split to read.
        batch_size: number of rows of all processes together.
        roll: cut and roll the rows as for training.
        seed: seed of the offsets.
        drop_last: leave out the last window of the rows if it is shorter than the others.
        rank, world_size: this process, and the number of processes that share the rows.
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


def _check_sockets() -> None:
    """Check that the sockets by which workers send tensors can be created; without them torch would wait forever.

    Raises:
        DataError: the folder for temporary files cannot be used, or its path is too long.
    """
    try:
        path = arbitrary_address("AF_UNIX")
    except OSError as error:
        raise DataError(
            f"No temporary file can be made ({error}); set TMPDIR to a folder that can be written."
        ) from error
    if (excess := len(os.fsencode(path)) - LONGEST_SOCKET) > 0:
        folder = tempfile.gettempdir()
        raise DataError(
            f"The path of the folder for temporary files is too long for the sockets of loader workers: {folder} has "
            f"{len(os.fsencode(folder))} characters, and at most {len(os.fsencode(folder)) - excess} are possible. Set "
            "TMPDIR to a folder with a shorter path, or read the data without loader workers."
        )


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
    """Make the loader of a split: ``train`` is shuffled by (seed, epoch); the other splits are read once, in order.

    Its ``batch_sampler`` is a :class:`Batches`, or a :class:`Windows` if the split is a stream; both have ``set_epoch``
    and ``start_at``. The batches do not depend on ``workers``.

    Args:
        batch_size: examples in a batch of all processes together.
        workers: number of processes that read examples; 0 reads them in this process.
        drop_last: leave out the last train batch if it is not full, as the published recipes do.
        bucket: put train examples of similar length into one batch.
        rank, world_size: this process, and the number of processes that share each batch. In training all of them get
            the same number of batches; in evaluation exactly one process reads each example.

    Raises:
        ValueError: the sizes and the number of processes do not fit together.
        DataError: the sockets of the workers cannot be created in TMPDIR.
    """
    if workers:
        _check_sockets()
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
