"""Rows of a table, one after the other, each with the place where a person would look for it."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mien.ingest.errors import UsageError, one_line

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    place: str
    """"line 7", or "row 7" where a file has no lines."""
    cells: Mapping[str, str] = field(default_factory=dict)
    """Text by column, in the file's order; "" where there is nothing."""
    trouble: str = ""
    """Why it cannot be read, or "" where it can."""


def read_csv(path: str) -> Iterator[Row]:
    """RFC 4180, with commas."""
    return _separated(path, ",")


def read_tsv(path: str) -> Iterator[Row]:
    return _separated(path, "\t")


def _separated(path: str, delimiter: str) -> Iterator[Row]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:  # noqa: PTH123
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        while True:
            began = reader.line_num + 1
            try:
                cells = [cell.strip() for cell in next(reader)]
            except StopIteration:
                break
            except csv.Error as error:
                yield Row(place=f"line {began}", trouble=f"it cannot be read ({error})")
                continue
            if not any(cells):
                continue
            if header is None:
                header = _header(path, cells)
            elif len(cells) != len(header):
                trouble = f"{len(cells)} cells where the header names {len(header)}"
                yield Row(place=f"line {began}", trouble=trouble)
            else:
                yield Row(place=f"line {began}", cells=_clean(dict(zip(header, cells, strict=True))))
    if header is None:
        raise UsageError(f"{path}: the table is empty; its first line names the columns")


def read_jsonl(path: str) -> Iterator[Row]:
    """One JSON object in each line."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:  # noqa: PTH123
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            place = f"line {number}"
            try:
                found = json.loads(line)
            except ValueError as error:
                yield Row(place=place, trouble=f"no JSON ({error})")
                continue
            if not isinstance(found, dict):
                yield Row(place=place, trouble=f"no JSON object but {type(found).__name__}")
                continue
            yield Row(place=place, cells=_clean({name: _text(value) for name, value in found.items()}))


def read_parquet(path: str) -> Iterator[Row]:
    """Columns of bytes (pictures, sound) hold no label and are left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            wanted = [field.name for field in file.schema_arrow if not _is_bytes(field.type)]
            number = 0
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=wanted):
                for found in batch.to_pylist():
                    number += 1
                    cells = _clean({name: _text(value) for name, value in found.items()})
                    yield Row(place=f"row {number}", cells=cells)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(
            one_line(f"{path}: it cannot be read as Parquet ({error}); check the file")
        ) from error


READERS: dict[str, Callable[[str], Iterator[Row]]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}


def _header(path: str, cells: list[str]) -> list[str]:
    if "" in cells:
        raise UsageError(f"{path}: column {cells.index('') + 1} has no name; name it in the first line")
    for name in cells:
        if cells.count(name) > 1:
            raise UsageError(f"{path}: several columns are named {name}; give each a name of its own")
    return cells


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value).strip()


def _clean(cells: dict[str, str]) -> dict[str, str]:
    """Without NULs, which no database holds."""
    return {str(name): cell.replace("\0", "\ufffd") for name, cell in cells.items()}
