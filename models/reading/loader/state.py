"""A loader's state: plain numbers and texts, the same on every rank, for any number of ranks and workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mien.ingest.errors import ReaderStateError
from mien.models.reading.order.steps import Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
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
    def from_dict(cls, told: Mapping[str, Any]) -> State:
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
