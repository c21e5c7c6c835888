"""What a field is: a part of the sample that is decoded, and collated into a batch."""

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
    """A member, and how to speak of it."""

    key: str
    member: str
    data: memoryview | bytes

    def damaged(self, why: object) -> DamagedSampleError:
        return DamagedSampleError(
            self.key, f"{self.member} is damaged, {why}: `mien verify` tells whether its shard is"
        )


def content(sample: RawSample, member: str) -> Content:
    """Raises MissingMemberError."""
    try:
        return Content(sample.key, member, sample.members[member])
    except KeyError:
        raise MissingMemberError(
            sample.key,
            f"it was written without {member}, and has {', '.join(sorted(sample.members)) or 'nothing'}: "
            "filter such samples out with `where`, or leave the field out",
        ) from None


class Field(ABC, Generic[P]):
    """Decodes one thing. It holds its own options alone, so that it may be pickled and shared."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The batch's key for it, and what its other keys begin with."""

    @abstractmethod
    def members(self, *, windowed: bool) -> frozenset[str]:
        """Extensions of the members that it reads, where the sample has them."""

    @abstractmethod
    def open(self, sample: RawSample, *, windowed: bool) -> P:
        """Reads headers; decodes nothing that costs. Raises DamagedSampleError, MissingMemberError."""

    def rows(self, part: P) -> int | None:
        """Rows of the clip's 25 Hz clock that it covers; None where it has no extent in time."""
        del part
        return None

    @abstractmethod
    def collate(
        self, parts: Sequence[P], cuts: Sequence[Cut] | None, window: Window | None, allocate: Allocate
    ) -> dict[str, Any]:
        """Its entries of the batch: of the whole clips, or of `cuts` (given with `window`), one a part.

        Arrays come from `allocate`, uninitialised; every element of them is written.
        Raises DamagedSampleError.
        """
