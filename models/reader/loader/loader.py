"""Hands out batches in order, and saves and restores the position in that order."""

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

SUBSTITUTES = 8
SKIPS_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderSpec:
    """Which batches a loader gives. See `ShardReader.loader`."""

    seed: int
    global_batch: int
    rank: int
    world: int
    tail: Tail
    copy: bool
    tensors: bool
    cache: Path


class Loader:
    """Iterating gives the remaining batches of the current epoch; iterating again gives the next epoch.

    A batch is a dict of the fields' tensors (or numpy arrays, or lists of strings), and `valid` (B,) bool,
    False in rows that only fill the batch up. The arrays are in shared memory, which is reused once no array
    and no view of it is referenced. A trainer that keeps more than HELD batches gets copies.

    Close the loader, or use it as a context manager, to stop the workers. They also stop when their parent
    process ends, however it ends.
    """

    def __init__(
        self,
        selection: Selection,
        queue: BatchQueue,
        spec: LoaderSpec,
        *,
        prefetcher: Prefetcher | None = None,
    ) -> None:
        """Raises UsageError if the sizes do not fit."""
        self._spec, self._queue, self._all = spec, queue, selection
        self._prefetcher = prefetcher
        self._announced: Cursor | None = None
        """Where the shards that the prefetcher was last given begin."""
        self._use(selection, spec.seed)
        self._cursor = self._submitted = self._steps.normalize(Cursor(0, 0))
        """The ends of the batches that were handed out, and of those that were submitted."""
        self._pending: deque[tuple[int, Step]] = deque()
        """(task number, step) of batches that were submitted and not handed out."""
        self._number = 0
        self._closed = False
        self.skipped: Counter[str] = Counter()
        """Samples skipped in the batches handed out so far, by reason (the class of the error)."""
        self.skips: deque[Skipped] = deque(maxlen=SKIPS_SHOWN)
        """The most recent of them."""

    def state_dict(self) -> dict[str, Any]:
        """The position after the last batch handed out, whatever has been read ahead."""
        return LoaderState(
            seed=self._seed,
            cursor=self._cursor,
            manifest_hash=self._selection.manifest_hash,
            order_hash=self._selection.order_hash,
        ).to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues where the state was taken, on any number of ranks and workers, without rereading earlier
        samples. Shards added since are left out until a loader starts without a state.

        Raises:
            ReaderStateError: `state` is invalid, or belongs to another filter, mixture or shuffle window.
            ManifestChangedError: shards that the state refers to are gone; the message says what to do.
        """
        restored = LoaderState.from_dict(state)
        if restored.order_hash != self._all.order_hash:
            raise ReaderStateError(
                "the state belongs to another where, weights, shuffle_window or version of the order "
                f"({restored.order_hash}, here {self._all.order_hash}); use the same settings, or start "
                "without a state"
            )
        # From all shards that were listed, not from those that an earlier state left.
        selection = self._all.restored(restored.manifest_hash, self._spec.cache)
        self._use(selection, restored.seed)
        self._cursor = self._steps.normalize(restored.cursor)
        self._cancel()

    @property
    def epoch(self) -> int:
        """The epoch of the next batch."""
        return self._cursor.epoch

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self._steps.count(Cursor(self.epoch, 0))

    @property
    def batches_left(self) -> int:
        """Batches left in the current epoch."""
        return self._steps.count(self._cursor)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Raises DamagedSampleError, LoaderWorkerError, LoaderTimeoutError, StorageError."""
        epoch = self._cursor.epoch
        while self._cursor.epoch == epoch:
            yield self._next()

    def close(self) -> None:
        """Stops the workers. Batches that were handed out stay valid."""
        self._closed = True
        if self._prefetcher is not None:
            self._prefetcher.close()
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
            raise UsageError("this loader is closed; call ShardReader.loader() for another one")
        try:
            if not self._pending:
                self._queue.wait_for_room()
            self._submit()
            number, step = self._pending[0]
            slot, encoded = self._queue.get(number)
            batch = to_batch(
                self._queue.buffers, slot, encoded, copy=self._spec.copy, tensors=self._spec.tensors
            )
        except BaseException:
            self._cancel()  # the next call tries the same batch again
            raise
        self._pending.popleft()
        self._cursor = step.after
        for skip in encoded.skipped:
            self.skipped[skip.reason] += 1
            self.skips.append(skip)
        self._submit()
        return batch

    def _submit(self) -> None:
        self._announce()
        while self._queue.has_room:
            step = self._steps.step(self._submitted)
            substitutes = self._steps.plan.choose(
                step.cursor.epoch, 0, min(SUBSTITUTES, len(self._steps.plan))
            )
            self._queue.submit(
                BatchTask(
                    number=self._number,
                    seed=self._seed,
                    samples=self._selection.sample_ids(step.chosen),
                    valid=step.valid,
                    substitutes=self._selection.sample_ids(substitutes),
                )
            )
            self._pending.append((self._number, step))
            self._number += 1
            self._submitted = step.after

    def _announce(self) -> None:
        """Gives the prefetcher the shards of the next shuffle window, half a window at a time. Samples of all
        ranks are included because the ranks of a machine share the cache."""
        if self._prefetcher is None:
            return
        epoch, start = self._cursor
        half = self._selection.shuffle_window // 2 + self._spec.global_batch
        last = self._announced
        if last is not None and last.epoch == epoch and start - last.consumed < half:
            return
        self._announced = self._cursor
        stop = min(len(self._steps.plan), start + 2 * half)
        ids = self._selection.sample_ids(self._steps.plan.choose(epoch, start, stop))
        self._prefetcher.announce(ids.corpora, ids.samples)

    def _cancel(self) -> None:
        self._announced = None
        self._queue.cancel_all()
        self._pending.clear()
        self._submitted = self._cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderState:
    """A loader's state as plain numbers and strings. It is the same on every rank and does not depend on the
    number of ranks and workers."""

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
    def from_dict(cls, state: Mapping[str, Any]) -> LoaderState:
        """Raises ReaderStateError."""
        try:
            numbers = [state["seed"], state["epoch"], state["samples_consumed"]]
            texts = [state["manifest_hash"], state["order_hash"]]
        except (KeyError, TypeError) as error:
            raise ReaderStateError(f"not a loader state: {error} is missing in {state!r:.200}") from error
        if any(type(n) is not int for n in numbers) or any(type(text) is not str for text in texts):
            raise ReaderStateError(f"a loader state holds three integers and two hashes, got {state!r:.200}")
        if min(numbers[1:]) < 0:
            raise ReaderStateError(f"epoch and samples_consumed are never negative, got {state!r:.200}")
        return cls(
            seed=numbers[0],
            cursor=Cursor(numbers[1], numbers[2]),
            manifest_hash=texts[0],
            order_hash=texts[1],
        )
