"""Batches in order, and the place that they end at."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mien.ingest.errors import ReaderStateError, UsageError
from mien.models.reader.loader.batch_builder import BatchTask, Skipped, to_batch
from mien.models.reader.loader.batch_queue import BatchQueue
from mien.models.reader.order.steps import Cursor, Step, Steps, Tail
from mien.models.reader.selection import Selection
from mien.models.reader.store.prefetcher import Prefetcher

SPARES = 8
SKIPS_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderSpec:
    """Which batches. See `ShardReader.loader`."""

    seed: int
    global_batch: int
    rank: int
    world: int
    tail: Tail
    copy: bool
    tensors: bool
    cache: Path


class Loader:
    """Iterating gives the rest of the current epoch's batches, and the next time those of the next epoch.

    A batch is a dict: what the fields are called, to tensors (or numpy arrays, or lists of texts), and
    `valid` (B,) bool, False in rows that only fill the batch up. Its arrays lie in memory that is used
    again once none of them, nor any view of them, is left: keep what is needed, and no more. Whoever keeps
    more than HELD batches gets copies.

    Close it, or use it as a context: that ends the workers. They also end with their parent, however it does.
    """

    def __init__(
        self, selection: Selection, queue: BatchQueue, spec: LoaderSpec, *, ahead: Prefetcher | None = None
    ) -> None:
        """Raises UsageError where the sizes do not fit."""
        self._spec, self._queue, self._whole = spec, queue, selection
        self._distant = ahead
        self._told: Cursor | None = None
        """What is fetched before its turn begins there."""
        self._use(selection, spec.seed)
        self._cursor = self._ahead = self._steps.settle(Cursor(0, 0))
        """Where what was handed out ends, and where what was ordered does."""
        self._pending: deque[tuple[int, Step]] = deque()
        """Ordered and not handed out, with the number of its task."""
        self._number = 0
        self._closed = False
        self.skipped: Counter[str] = Counter()
        """Samples left out in the batches handed out so far, by reason (the class of the error)."""
        self.skips: deque[Skipped] = deque(maxlen=SKIPS_SHOWN)
        """The last of them."""

    def state_dict(self) -> dict[str, Any]:
        """Where the batches handed out so far end, whatever was read ahead."""
        return LoaderState(
            seed=self._seed,
            cursor=self._cursor,
            manifest_hash=self._selection.manifest_hash,
            order_hash=self._selection.order_hash,
        ).to_dict()

    def load_state_dict(self, told: Mapping[str, Any]) -> None:
        """Goes on where the state was taken, on any number of ranks and workers, without reading what was
        read. Shards that came since wait until a loader without a state takes them in.

        Raises:
            ReaderStateError: it is no state, or of another filter, mixture or shuffle window.
            ManifestChangedError: the shards it counts in cannot be had any more; the message says what to do.
        """
        state = LoaderState.from_dict(told)
        if state.order_hash != self._whole.order_hash:
            raise ReaderStateError(
                "the state is of another where, weights, shuffle_window, or version of the order "
                f"({state.order_hash}, here {self._whole.order_hash}): give the same, or begin anew"
            )
        # Of all that was found, not of what the state before left of it.
        selection = self._whole.restored(state.manifest_hash, self._spec.cache)
        self._use(selection, state.seed)
        self._cursor = self._steps.settle(state.cursor)
        self._forget()

    @property
    def epoch(self) -> int:
        """Of the next batch."""
        return self._cursor.epoch

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self._steps.count(Cursor(self.epoch, 0))

    @property
    def batches_left(self) -> int:
        """In the current epoch."""
        return self._steps.count(self._cursor)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Raises DamagedSampleError, LoaderWorkerError, LoaderTimeoutError, StorageError."""
        epoch = self._cursor.epoch
        while self._cursor.epoch == epoch:
            yield self._next()

    def close(self) -> None:
        """Ends the workers. Batches that were handed out stay valid."""
        self._closed = True
        if self._distant is not None:
            self._distant.close()
        self._queue.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _use(self, selection: Selection, seed: int) -> None:
        spec = self._spec
        self._steps = Steps(
            plan=selection.plan(seed),
            global_batch=spec.global_batch,
            rank=spec.rank,
            world=spec.world,
            tail=spec.tail,
        )
        self._selection, self._seed = selection, seed

    def _next(self) -> dict[str, Any]:
        if self._closed:
            raise UsageError("this loader is closed; make another one of the reader")
        try:
            if not self._pending:
                self._queue.wait_for_room()
            self._order()
            number, step = self._pending[0]
            slot, made = self._queue.get(number)
            batch = to_batch(self._queue.pool, slot, made, copy=self._spec.copy, tensors=self._spec.tensors)
        except BaseException:
            self._forget()  # asked again, the same batch is tried again
            raise
        self._pending.popleft()
        self._cursor = step.after
        for skip in made.skipped:
            self.skipped[skip.reason] += 1
            self.skips.append(skip)
        self._order()
        return batch

    def _order(self) -> None:
        self._announce()
        while self._queue.has_room:
            step = self._steps.step(self._ahead)
            spare = self._steps.plan.choose(step.cursor.epoch, 0, min(SPARES, len(self._steps.plan)))
            self._queue.order(
                BatchTask(
                    number=self._number,
                    seed=self._seed,
                    picks=self._selection.picks(step.chosen),
                    valid=step.valid,
                    spares=self._selection.picks(spare),
                )
            )
            self._pending.append((self._number, step))
            self._number += 1
            self._ahead = step.after

    def _announce(self) -> None:
        """Half a window at a time, of the window that follows: all ranks of a machine share the cache."""
        if self._distant is None:
            return
        epoch, start = self._cursor
        half = self._selection.shuffle_window // 2 + self._spec.global_batch
        if self._told is not None and self._told.epoch == epoch and start - self._told.consumed < half:
            return
        self._told = self._cursor
        stop = min(len(self._steps.plan), start + 2 * half)
        picks = self._selection.picks(self._steps.plan.choose(epoch, start, stop))
        self._distant.tell(picks.corpora, picks.samples)

    def _forget(self) -> None:
        self._told = None
        self._queue.forget()
        self._pending.clear()
        self._ahead = self._cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderState:
    seed: int
    cursor: Cursor
    manifest_hash: str
    order_hash: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "epoch": self.cursor.epoch,
            "samples_consumed": self.cursor.consumed,
            "manifest_hash": self.manifest_hash,
            "order_hash": self.order_hash,
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> LoaderState:
        """Raises ReaderStateError."""
        try:
            numbers = [told["seed"], told["epoch"], told["samples_consumed"]]
            texts = [told["manifest_hash"], told["order_hash"]]
        except (KeyError, TypeError) as error:
            raise ReaderStateError(f"this is no loader's state, {error} is missing: {told!r:.200}") from error
        if any(type(n) is not int for n in numbers) or any(type(text) is not str for text in texts):
            raise ReaderStateError(f"a state holds integers and two hashes, got {told!r:.200}")
        if min(numbers[1:]) < 0:
            raise ReaderStateError(f"a state counts from 0 on, got {told!r:.200}")
        return cls(
            seed=numbers[0],
            cursor=Cursor(numbers[1], numbers[2]),
            manifest_hash=texts[0],
            order_hash=texts[1],
        )
