"""`<track>`: any member `<track>.npy` with one row per row of the clip's 25 Hz clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.ingest.errors import UsageError
from mien.models.reader.data import Allocate, RawSample
from mien.models.reader.fields.field import Content, Field, content
from mien.models.reader.fields.npy import NotNpyError, read_npy
from mien.models.reader.fields.window import Cut, Window


@dataclass(frozen=True, slots=True)
class _Values:
    content: Content
    values: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class TrackField(Field[_Values]):
    """`<track>` (B, T, …) of the stored type; `<track>_length` (B,) int64 rows; `<track>_mask` (B, T) bool,
    False in padding and in rows with an unknown value (stored as NaN). Both are filled with `fill`.

    `columns`: names of the columns to read, in this order, as (B, T, len(columns)). The sample's json names
    the columns of each track under `tracks`. Without `columns` the track is read as it is stored.
    """

    track: str
    fill: float = 0.0
    columns: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.track

    def members(self, *, windowed: bool) -> frozenset[str]:
        del windowed
        return frozenset({f"{self.track}.npy", "json"} if self.columns else {f"{self.track}.npy"})

    def open(self, sample: RawSample, *, windowed: bool) -> _Values:
        del windowed
        member = content(sample, f"{self.track}.npy")
        try:
            values = read_npy(member.data)
        except NotNpyError as error:
            raise member.damaged(error) from error
        if not values.ndim:
            raise member.damaged("it is a single number instead of one row per frame")
        if self.columns:
            values = values[:, self._column_numbers(sample, values)]
        return _Values(member, values)

    def rows(self, part: _Values) -> int | None:
        return len(part.values)

    def collate(
        self, parts: Sequence[_Values], cuts: Sequence[Cut] | None, window: Window | None, allocate: Allocate
    ) -> dict[str, Any]:
        places = cuts if cuts is not None else [Cut(0, len(part.values)) for part in parts]
        length = window.rows if window else max(place.rows for place in places)
        first = parts[0].values
        for part in parts:
            if part.values.shape[1:] != first.shape[1:] or part.values.dtype != first.dtype:
                raise part.content.damaged(
                    f"its rows are {part.values.dtype} {part.values.shape[1:]}, but those of sample "
                    f"{parts[0].content.key} are {first.dtype} {first.shape[1:]}"
                )
        out = allocate(self.track, (len(parts), length, *first.shape[1:]), first.dtype)
        mask = allocate(f"{self.track}_mask", (len(parts), length), np.dtype(np.bool_))
        lengths = allocate(f"{self.track}_length", (len(parts),), np.dtype(np.int64))
        floats = first.dtype.kind == "f"
        for number, (part, cut) in enumerate(zip(parts, places, strict=True)):
            values = part.values[cut.first_row : cut.first_row + cut.rows]
            out[number, : cut.rows] = values
            out[number, cut.rows :] = self.fill if floats else 0
            mask[number, : cut.rows] = True
            mask[number, cut.rows :] = False
            lengths[number] = cut.rows
            if floats and np.isnan(values).any():
                self._fill_unknown(out[number, : cut.rows], mask[number, : cut.rows])
        return {self.track: out, f"{self.track}_mask": mask, f"{self.track}_length": lengths}

    def _fill_unknown(self, values: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> None:
        unknown = np.isnan(values)
        values[unknown] = self.fill
        mask[:] = ~unknown.reshape(len(values), -1).any(axis=1)

    def _column_numbers(self, sample: RawSample, values: npt.NDArray[Any]) -> list[int]:
        member = content(sample, "json")
        try:
            stored = _columns(bytes(member.data), self.track)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise member.damaged(f"it does not name the columns of the track {self.track}") from error
        if values.ndim != 2 or values.shape[1] != len(stored):
            raise member.damaged(
                f"it names {len(stored)} columns of the track {self.track}, whose shape is {values.shape}"
            )
        missing = [name for name in self.columns if name not in stored]
        if missing:
            raise UsageError(
                f"sample {sample.key}: the track {self.track} has no column {', '.join(missing)}; "
                f"it has {', '.join(stored)}"
            )
        return [stored.index(name) for name in self.columns]


@lru_cache(maxsize=64)
def _columns(meta: bytes, track: str) -> tuple[str, ...]:
    return tuple(str(name) for name in json.loads(meta)["tracks"][track])
