"""The base class of all fields: decodes one part of each sample and collates the parts into a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mien.ingest.errors import DamagedSampleError, MissingMemberError
from mien.models.reader.data import Allocate, RawSample
from mien.models.reader.fields.window import Cut, Window

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a member, with its name for messages."""

    key: str
    member: str
    data: memoryview | bytes

    def damaged(self, why: object) -> DamagedSampleError:
        return DamagedSampleError(
            self.key, f"{self.member} is damaged: {why} (`mien verify` checks the shard)"
        )


def content(sample: RawSample, member: str) -> Content:
    """Raises MissingMemberError."""
    try:
        return Content(sample.key, member, sample.members[member])
    except KeyError:
        raise MissingMemberError(
            sample.key,
            f"it has no {member} (it has {', '.join(sorted(sample.members)) or 'no member'}); "
            "exclude such samples with `where`, or leave the field out",
        ) from None


class Field(ABC, Generic[P]):
    """Decodes one part of a sample. It holds only its own options, because it is pickled and shared."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The field's key in the batch, and the prefix of its other keys."""

    @abstractmethod
    def members(self, *, windowed: bool) -> frozenset[str]:
        """Extensions of the members that it reads if the sample has them."""

    @abstractmethod
    def open(self, sample: RawSample, *, windowed: bool) -> P:
        """Reads headers and does no expensive decoding. Raises DamagedSampleError, MissingMemberError."""

    def rows(self, part: P) -> int | None:
        """The number of rows of the clip's 25 Hz clock that it covers; None if it has no extent in time."""
        del part
        return None

    @abstractmethod
    def collate(
        self, parts: Sequence[P], cuts: Sequence[Cut] | None, window: Window | None, allocate: Allocate
    ) -> dict[str, Any]:
        """The field's entries of the batch: of whole clips, or of `cuts` (one per part, given with `window`).

        Arrays come uninitialised from `allocate`, so every element must be written.
        Raises DamagedSampleError.
        """
