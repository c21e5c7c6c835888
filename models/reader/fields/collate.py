"""Samples to a batch: opened, cut, padded, masked, and decoded straight into the batch's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.ingest.errors import DamagedSampleError, ShortClipError, UsageError
from mien.models.reader.data import Allocate, RawSample
from mien.models.reader.fields.field import Field
from mien.models.reader.fields.registry import field_of
from mien.models.reader.fields.window import Cut, Window, place

RESERVED = frozenset({"key", "corpus", "seed", "window_row", "valid"})
"""What a batch has besides its fields (`valid` is the loader's)."""


@dataclass(frozen=True, slots=True, init=False)
class Collator:
    """`fields` of each sample, whole or as far as `windows` shows them. It may be pickled.

    Raises UsageError where no field or one field twice is asked for.
    """

    fields: tuple[Field[Any], ...]
    windows: Window | None

    def __init__(self, fields: Sequence[str | Field[Any]], windows: Window | None = None) -> None:
        found = tuple(field_of(field) for field in fields)
        names = [field.name for field in found]
        if taken := RESERVED & set(names):
            raise UsageError(
                f"a batch calls something else {', '.join(sorted(taken))}: such a field cannot be had"
            )
        if not names or len(set(names)) < len(names):
            raise UsageError(f"fields are to be named once each, and one at least, got {', '.join(names)}")
        object.__setattr__(self, "fields", found)
        object.__setattr__(self, "windows", windows)

    @property
    def members(self) -> frozenset[str]:
        """Extensions that `batch` reads. A sample may lack some: the field that needs one says so."""
        return frozenset().union(*(field.members(windowed=self.windows is not None) for field in self.fields))

    def batch(self, samples: Sequence[RawSample], allocate: Allocate) -> dict[str, Any]:
        """What the fields' docstrings tell, and `key` (list), `corpus` and `seed` (B,); with a window
        `window_row` (B,) int64, the row of the clip at which it begins.

        Raises DamagedSampleError (MissingMemberError, ShortClipError), UsageError.
        """
        if not samples:
            raise UsageError("a batch needs a sample, got none")
        windowed = self.windows is not None
        parts = [[field.open(sample, windowed=windowed) for sample in samples] for field in self.fields]
        cuts = None if self.windows is None else self._cuts(self.windows, samples, parts)
        batch: dict[str, Any] = {"key": [sample.key for sample in samples]}
        batch["corpus"] = _numbers("corpus", [sample.corpus for sample in samples], np.int64, allocate)
        batch["seed"] = _numbers("seed", [sample.seed for sample in samples], np.uint64, allocate)
        if cuts is not None:
            batch["window_row"] = _numbers("window_row", [cut.first_row for cut in cuts], np.int64, allocate)
        for field, opened in zip(self.fields, parts, strict=True):
            batch |= field.collate(opened, cuts, self.windows, allocate)
        return batch

    def one(self, sample: RawSample) -> dict[str, Any]:
        """`batch` of this sample alone, without the axis of the batch: nothing is padded but a short clip."""
        batch = self.batch([sample], lambda name, shape, dtype: np.empty(shape, dtype))
        return {name: values[0] for name, values in batch.items()}

    def _cuts(self, window: Window, samples: Sequence[RawSample], parts: list[list[Any]]) -> list[Cut]:
        cuts = []
        for number, sample in enumerate(samples):
            extents = [
                rows
                for field, opened in zip(self.fields, parts, strict=True)
                if (rows := field.rows(opened[number])) is not None
            ]
            if not extents and (told := sample.row.get("rows")) is not None:
                extents = [int(told)]
            if not extents:
                raise UsageError("a window needs a field with an extent in time, such as faces or audio")
            rows = min(extents)
            if max(extents) > rows + 1:  # a last row may be cut short by the end of the sound
                raise DamagedSampleError(
                    sample.key,
                    f"its fields cover {', '.join(map(str, sorted(set(extents))))} rows of one clip, "
                    "so that no window shows the same in all: ask for fields on the clip's clock alone",
                )
            if rows < window.rows and window.short == "refuse":
                raise ShortClipError(
                    sample.key,
                    f"{rows} rows where the window has {window.rows}: filter with `where`, or pad",
                )
            cuts.append(place(window, seed=sample.seed, rows=rows))
        return cuts


def _numbers(name: str, values: list[int], kind: Any, allocate: Allocate) -> npt.NDArray[Any]:
    out = allocate(name, (len(values),), np.dtype(kind))
    out[:] = np.array(values, kind)
    return out
