"""Collates samples into a batch: opens, cuts, pads and masks them, and decodes into the batch's memory."""

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
"""Keys of a batch besides its fields. The loader adds `valid`."""


@dataclass(frozen=True, slots=True, init=False)
class Collator:
    """Collates `fields` of each sample, whole or in `windows`. It can be pickled.

    Raises UsageError if there is no field, or one field twice.
    """

    fields: tuple[Field[Any], ...]
    windows: Window | None

    def __init__(self, fields: Sequence[str | Field[Any]], windows: Window | None = None) -> None:
        found = tuple(field_of(field) for field in fields)
        names = [field.name for field in found]
        if taken := RESERVED & set(names):
            raise UsageError(
                f"{', '.join(sorted(taken))}: reserved keys of a batch, which no field can use as its name"
            )
        if not names or len(set(names)) < len(names):
            raise UsageError(f"give at least one field, and each field once; got {', '.join(names)}")
        object.__setattr__(self, "fields", found)
        object.__setattr__(self, "windows", windows)

    @property
    def members(self) -> frozenset[str]:
        """Extensions that `batch` reads. A sample may lack some; a field that needs one raises."""
        return frozenset().union(*(field.members(windowed=self.windows is not None) for field in self.fields))

    def batch(self, samples: Sequence[RawSample], allocate: Allocate) -> dict[str, Any]:
        """The entries described by the fields, and `key` (list), `corpus` and `seed` (B,). With a window also
        `window_row` (B,) int64, the row of the clip at which the window begins.

        Raises DamagedSampleError (MissingMemberError, ShortClipError), UsageError.
        """
        if not samples:
            raise UsageError("a batch needs at least one sample")
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
        """`batch` of this one sample, without the batch axis. Only a clip shorter than the window is
        padded."""
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
            if not extents and (indexed := sample.row.get("rows")) is not None:
                extents = [int(indexed)]
            if not extents:
                raise UsageError("a window needs a field with an extent in time, such as faces or audio")
            rows = min(extents)
            if max(extents) > rows + 1:  # the sound may end within the last row
                raise DamagedSampleError(
                    sample.key,
                    f"its fields have {', '.join(map(str, sorted(set(extents))))} rows, so they share no "
                    "window; use only fields on the clip's 25 Hz clock",
                )
            if rows < window.rows and window.short == "refuse":
                raise ShortClipError(
                    sample.key,
                    f"it has {rows} rows, the window has {window.rows}; filter with `where`, or pad it",
                )
            cuts.append(place(window, seed=sample.seed, rows=rows))
        return cuts


def _numbers(name: str, values: list[int], kind: Any, allocate: Allocate) -> npt.NDArray[Any]:
    out = allocate(name, (len(values),), np.dtype(kind))
    out[:] = np.array(values, kind)
    return out
