"""Lists of videos: tables of paths or URLs with labels, and plain text files.

A table (.csv, .tsv, .jsonl, .parquet) has one column of paths or URLs, named `path`, `url` or `uri`, or given
by `--column`. The columns `title`, `channel` and `licence` (or `license`) describe the video. Every other
column is a label. Relative paths start at the table's folder. An invalid row is reported with its line and
left out. Rows are read one by one, so the size of a table is not limited by memory.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mien.ingest.errors import MienError, MissingFileError, UsageError, one_line
from mien.ingest.media import VideoRef
from mien.ingest.naming import extension_of, local_path, path_uri, printable
from mien.ingest.sources.skipped import Skipped

Entries = Callable[[str, str, Skipped, frozenset[str]], Iterator[VideoRef]]
"""(folder of the list, entry, skipped, extensions): the videos of one entry."""

COLUMNS = frozenset({"path", "url", "uri"})
_ROWS_AT_ONCE = 1024
_ABOUT = frozenset({"title", "channel", "licence", "license"})


@dataclass(frozen=True, slots=True)
class TableSource:
    """Rows of a table, with their labels."""

    entries: Entries
    column: str = ""
    """Name of the column of paths or URLs; "" selects one of `COLUMNS`."""

    def accepts(self, argument: str) -> bool:
        return _is_list(argument, frozenset(READERS))

    def expand(self, argument: str, skipped: Skipped, extensions: frozenset[str]) -> Iterator[VideoRef]:
        """Raises UsageError if the table cannot be read, or its column of paths or URLs is ambiguous."""
        table = _path(argument)
        column = ""
        for row in READERS[extension_of(table)](table):
            if row.problem:
                skipped.errors.append(_bad_row(table, row.place, row.problem))
                continue
            column = column or self._column(table, row.cells)
            entry = row.cells.get(column, "")
            if not entry:
                skipped.errors.append(_bad_row(table, row.place, f"the column {column} is empty"))
                continue
            cells = {
                _valid_text(name): _valid_text(cell)
                for name, cell in row.cells.items()
                if name != column and cell
            }
            for ref in _videos(
                self.entries, entry, table=table, place=row.place, skipped=skipped, extensions=extensions
            ):
                yield _labelled(ref, cells, table)

    def _column(self, table: str, cells: Mapping[str, str]) -> str:
        there = ", ".join(cells) or "none"
        if self.column:
            if self.column not in cells:
                raise UsageError(f"{table} has no column {self.column}; its columns are {there}")
            return self.column
        found = [name for name in cells if name.lower() in COLUMNS]
        if len(found) != 1:
            problem = f"it has several: {', '.join(found)}" if found else f"its columns are {there}"
            raise UsageError(
                f"{table}: a table needs one column named path, url or uri, and {problem}; "
                "name it with --column NAME"
            )
        return found[0]


@dataclass(frozen=True, slots=True)
class ListSource:
    """A text file with one path or URL per line. Lines that start with # are comments."""

    entries: Entries

    def accepts(self, argument: str) -> bool:
        return _is_list(argument, frozenset({".txt"}))

    def expand(self, argument: str, skipped: Skipped, extensions: frozenset[str]) -> Iterator[VideoRef]:
        path = _path(argument)
        # A path may contain any bytes. Python reads invalid UTF-8 as the surrogates that name such files.
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:  # noqa: PTH123
            for number, line in enumerate(file, start=1):
                entry = line.strip()
                if entry and not entry.startswith("#"):
                    for ref in _videos(
                        self.entries,
                        entry,
                        table=path,
                        place=f"line {number}",
                        skipped=skipped,
                        extensions=extensions,
                    ):
                        yield replace(ref, query=path_uri(path))


def _is_list(argument: str, kinds: frozenset[str]) -> bool:
    remote = "://" in argument and not argument.lower().startswith("file:")
    if remote or "\0" in argument or extension_of(argument) not in kinds:
        return False
    return not os.path.isdir(argument)  # noqa: PTH112


def _path(argument: str) -> str:
    named = argument if os.path.lexists(argument) else local_path(argument)
    path = os.path.abspath(argument if named is None else named)  # noqa: PTH100
    if not os.path.isfile(path):  # noqa: PTH113
        raise MissingFileError(f"{printable(path)}: the list or table does not exist; correct the path")
    return path


def _videos(
    entries: Entries, entry: str, *, table: str, place: str, skipped: Skipped, extensions: frozenset[str]
) -> Iterator[VideoRef]:
    """The videos of one entry. An error is added to `skipped` with its line, and not raised."""
    try:
        yield from entries(os.path.dirname(table), entry, skipped, extensions)  # noqa: PTH120
    except MienError as error:
        skipped.errors.append(_bad_row(table, place, str(error)))


def _labelled(ref: VideoRef, cells: Mapping[str, str], table: str) -> VideoRef:
    own = {name.lower(): cell for name, cell in cells.items() if name.lower() in _ABOUT}
    return replace(
        ref,
        query=path_uri(table),
        title=own.get("title", ref.title),
        channel=own.get("channel", ref.channel),
        licence=own.get("licence") or own.get("license") or ref.licence,
        labels={**ref.labels, **{name: cell for name, cell in cells.items() if name.lower() not in _ABOUT}},
    )


def _valid_text(text: str) -> str:
    """`text` without invalid UTF-8, as JSON and databases need it."""
    return text.encode("utf-8", "replace").decode()


def _bad_row(table: str, place: str, problem: str) -> UsageError:
    return UsageError(one_line(f"{printable(table)}, {place}: {problem}; the row is left out"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    place: str
    """"line 7", or "row 7" for a file without lines."""
    cells: Mapping[str, str] = field(default_factory=dict)
    """Text by column, in the file's order; "" for an empty cell."""
    problem: str = ""
    """Why the row cannot be read; "" if it can."""


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
                yield Row(place=f"line {began}", problem=f"the line cannot be parsed ({error})")
                continue
            if not any(cells):
                continue
            if header is None:
                header = _header(path, cells)
            elif len(cells) != len(header):
                problem = f"{len(cells)} cells, but the header has {len(header)}"
                yield Row(place=f"line {began}", problem=problem)
            else:
                yield Row(place=f"line {began}", cells=_clean(dict(zip(header, cells, strict=True))))
    if header is None:
        raise UsageError(f"{path}: the table is empty; its first line names the columns")


def read_jsonl(path: str) -> Iterator[Row]:
    """One JSON object per line."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:  # noqa: PTH123
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            place = f"line {number}"
            try:
                found = json.loads(line)
            except ValueError as error:
                yield Row(place=place, problem=f"not JSON ({error})")
                continue
            if not isinstance(found, dict):
                yield Row(place=place, problem=f"not a JSON object but {type(found).__name__}")
                continue
            yield Row(place=place, cells=_clean({name: _text(value) for name, value in found.items()}))


def read_parquet(path: str) -> Iterator[Row]:
    """Leaves out columns of bytes (pictures, sound), which cannot be labels."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = [field.name for field in file.schema_arrow if not _is_bytes(field.type)]
            number = 0
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns):
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
            raise UsageError(f"{path}: several columns are named {name}; give each column a unique name")
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
    """Replaces NUL characters, which databases cannot store."""
    return {str(name): cell.replace("\0", "\ufffd") for name, cell in cells.items()}
