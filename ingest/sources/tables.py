"""Lists that somebody made: tables of paths or URLs with labels, and plain text files of them.

A table (.csv, .tsv, .jsonl, .parquet) has one column of paths or URLs, named `path`, `url` or `uri`, or as
`--column` says. The columns `title`, `channel` and `licence` (or `license`) say just that of the video; every
other column is a label. Relative paths begin at the table's folder. A row that is of no use is named with its
place and left out, the others are taken. Nothing is loaded whole: ten million rows are as good as ten.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from mien.ingest.errors import MienError, MissingFileError, UsageError, one_line
from mien.ingest.media import VideoRef
from mien.ingest.sources.naming import extension_of, local_path, path_uri, printable
from mien.ingest.sources.rows import READERS
from mien.ingest.sources.tally import Tally

Entries = Callable[[str, str, Tally, frozenset[str]], Iterator[VideoRef]]
"""(folder of the list, entry, tally, extensions): the videos of one entry."""

COLUMNS = frozenset({"path", "url", "uri"})
_ABOUT = frozenset({"title", "channel", "licence", "license"})


@dataclass(frozen=True, slots=True)
class TableSource:
    """Rows of a table, with their labels."""

    entries: Entries
    column: str = ""
    """Of the paths or URLs; "" looks for one of `COLUMNS`."""

    def accepts(self, argument: str) -> bool:
        return _is_list(argument, frozenset(READERS))

    def expand(self, argument: str, tally: Tally, extensions: frozenset[str]) -> Iterator[VideoRef]:
        """Raises UsageError where the table cannot be read, or its column of addresses is not clear."""
        table = _path(argument)
        column = ""
        for row in READERS[extension_of(table)](table):
            if row.trouble:
                tally.errors.append(_bad_row(table, row.place, row.trouble))
                continue
            column = column or self._column(table, row.cells)
            entry = row.cells.get(column, "")
            if not entry:
                tally.errors.append(_bad_row(table, row.place, f"the column {column} is empty"))
                continue
            cells = {
                _sound(name): _sound(cell) for name, cell in row.cells.items() if name != column and cell
            }
            for ref in _videos(
                self.entries, entry, table=table, place=row.place, tally=tally, extensions=extensions
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
            problem = f"it has several, {', '.join(found)}" if found else f"its columns are {there}"
            raise UsageError(
                f"{table}: a table needs one column named path, url or uri, and {problem}; "
                "say which it is with --column NAME"
            )
        return found[0]


@dataclass(frozen=True, slots=True)
class ListSource:
    """A text file with a path or URL in each line; a line that begins with # is a comment."""

    entries: Entries

    def accepts(self, argument: str) -> bool:
        return _is_list(argument, frozenset({".txt"}))

    def expand(self, argument: str, tally: Tally, extensions: frozenset[str]) -> Iterator[VideoRef]:
        path = _path(argument)
        # Paths may be any bytes: what is no UTF-8 comes as the surrogates that Python names such files with.
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:  # noqa: PTH123
            for number, line in enumerate(file, start=1):
                entry = line.strip()
                if entry and not entry.startswith("#"):
                    for ref in _videos(
                        self.entries,
                        entry,
                        table=path,
                        place=f"line {number}",
                        tally=tally,
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
        raise MissingFileError(f"{printable(path)}: no such list or table; correct the path")
    return path


def _videos(
    entries: Entries, entry: str, *, table: str, place: str, tally: Tally, extensions: frozenset[str]
) -> Iterator[VideoRef]:
    """What one entry stands for. Whatever is wrong with it is named with its place, and not raised."""
    try:
        yield from entries(os.path.dirname(table), entry, tally, extensions)  # noqa: PTH120
    except MienError as error:
        tally.errors.append(_bad_row(table, place, str(error)))


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


def _sound(text: str) -> str:
    """`text` as JSON and databases hold it, without what is no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _bad_row(table: str, place: str, problem: str) -> UsageError:
    return UsageError(one_line(f"{printable(table)}, {place}: {problem}; the row is left out"))
