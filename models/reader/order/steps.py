"""Divides an epoch into steps: which samples each rank gets, and where the next step begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from mien.ingest.errors import UsageError
from mien.models.reader.order.plan import Chosen, Plan

Tail = Literal["drop", "pad", "carry"]
TAILS: tuple[Tail, ...] = ("drop", "pad", "carry")


class Cursor(NamedTuple):
    """Where the next batch begins, independent of ranks and workers."""

    epoch: int
    consumed: int
    """Samples of the epoch consumed by all ranks together."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rank's part of one global batch."""

    cursor: Cursor
    after: Cursor
    chosen: Chosen
    valid: npt.NDArray[np.bool_]
    """(N,) False in rows that only fill the batch up"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Global batch b of an epoch has the positions [b * G, (b + 1) * G), counted from where reading begins.
    Rank r of W gets [r * G // W, (r + 1) * G // W) of it. So every rank has the same number of steps, and the
    order of the samples is the same for every W.

    `tail` is the policy for samples that do not fill the last batch:
    drop   they are left out in this epoch;
    pad    the batch is filled up with the epoch's first samples, marked as not valid;
    carry  the batch is filled up from the next epoch, which then begins that much later.

    Raises UsageError if a rank would get no samples.
    """

    plan: Plan
    global_batch: int
    rank: int
    world: int
    tail: Tail

    def __post_init__(self) -> None:
        if self.tail not in TAILS:
            raise UsageError(f"tail must be one of {', '.join(TAILS)}; got {self.tail!r}")
        if not 0 <= self.rank < self.world:
            raise UsageError(f"rank must be in [0, world); got {self.rank = }, {self.world = }")
        if self.global_batch < self.world:
            raise UsageError(
                f"every rank needs a sample per step; got {self.global_batch = } for {self.world} ranks"
            )
        if self.tail == "drop" and len(self.plan) < self.global_batch:
            raise UsageError(
                f"{len(self.plan)} samples do not fill one batch of {self.global_batch}, and tail='drop' "
                "drops incomplete batches; use a smaller global_batch or tail='pad'"
            )

    def normalize(self, cursor: Cursor) -> Cursor:
        """The same position as a cursor whose epoch has at least one batch left."""
        epoch, consumed = cursor
        if self.tail == "carry":
            more, consumed = divmod(consumed, len(self.plan))
            return Cursor(epoch + more, consumed)
        needed = self.global_batch if self.tail == "drop" else 1
        return Cursor(epoch + 1, 0) if len(self.plan) - consumed < needed else cursor

    def count(self, cursor: Cursor) -> int:
        """Steps from `cursor` to the end of its epoch."""
        left = len(self.plan) - cursor.consumed
        return left // self.global_batch if self.tail == "drop" else -(-left // self.global_batch)

    def step(self, cursor: Cursor) -> Step:
        """`cursor` must be normalized."""
        epoch, first = cursor
        size = self.global_batch
        start = first + self.rank * size // self.world
        stop = first + (self.rank + 1) * size // self.world
        length = len(self.plan)
        valid = np.ones(stop - start, np.bool_)
        if self.tail == "pad":
            valid = np.arange(start, stop) < length
        parts = []
        while start < stop:
            wraps, first_of_part = divmod(start, length)
            end = min(length, first_of_part + stop - start)
            parts.append(
                self.plan.choose(epoch + wraps if self.tail == "carry" else epoch, first_of_part, end)
            )
            start += end - first_of_part
        chosen = Chosen(
            np.concatenate([part.corpora for part in parts]),
            np.concatenate([part.ordinals for part in parts]),
            np.concatenate([part.passes for part in parts]),
        )
        return Step(cursor, self.normalize(Cursor(epoch, first + size)), chosen, valid)
