"""Tables and lists: every row is a video with labels, or is reported with its line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.ingest.errors import MissingFileError, UsageError
from mien.ingest.media import VideoRef
from mien.ingest.sources import Skipped, expand, local_path, make_sources
from mien.ingest.sources.tables import Row, read_csv


def made(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refs(path: Path, skipped: Skipped | None = None, column: str = "") -> list[VideoRef]:
    return list(expand(str(path), skipped=skipped, sources=make_sources(column=column)))


def parquet(path: Path, columns: dict[str, object]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    return path


def test_table_has_addresses_and_labels(tmp_path: Path) -> None:
    table = made(
        tmp_path,
        "talks.csv",
        "emotion,url,arousal,title\r\n"
        'joy,https://example.org/a.mp4,0.7,"A ""good"" day, or\nnot"\r\n'
        ",sub/b.mp4,,\r\n",
    )
    first, second = refs(table)
    assert (first.source, first.uri) == ("http", "https://example.org/a.mp4")
    assert first.labels == {"emotion": "joy", "arousal": "0.7"}
    assert first.title == 'A "good" day, or\nnot'
    assert (second.source, second.uri) == ("file", str(tmp_path / "sub/b.mp4"))
    assert (second.labels, second.title) == ({}, "b")
    assert {first.query, second.query} == {str(table)}


def test_id_is_the_same_without_a_table(tmp_path: Path) -> None:
    table = made(tmp_path, "a.csv", f"path,emotion\n{tmp_path}/b.mp4,joy\n")
    assert refs(table)[0].key == next(expand(str(tmp_path / "b.mp4"))).key


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_table_format_gives_the_same(tmp_path: Path, kind: str) -> None:
    rows = [("a.mp4", "joy", 3), ("ü b.mp4", "fear", 4)]
    table = tmp_path / f"table.{kind}"
    if kind == "parquet":
        paths, emotions, levels = (list(column) for column in zip(*rows, strict=True))
        parquet(table, {"path": paths, "emotion": emotions, "level": levels, "picture": [b"\xff", b"\x00"]})
    elif kind == "jsonl":
        text = [json.dumps(dict(zip(("path", "emotion", "level"), row, strict=True))) for row in rows]
        made(tmp_path, table.name, "\n".join(text))
    else:
        between = "," if kind == "csv" else "\t"
        lines = [("path", "emotion", "level"), *rows]
        made(tmp_path, table.name, "\n".join(between.join(map(str, line)) for line in lines))
    found = [(Path(ref.uri).name, ref.labels) for ref in refs(table)]
    assert found == [(name, {"emotion": emotion, "level": str(level)}) for name, emotion, level in rows]


def test_invalid_rows_are_reported_by_line(tmp_path: Path) -> None:
    table = made(
        tmp_path,
        "table.csv",
        "url,emotion\n"
        "a.mp4,joy\n"
        ",fear\n"
        "\n"
        "b.mp4\n"
        '"c.mp4"x,joy\n'
        "https://user:hunter2@example.org/d.mp4,joy\n"
        "gopher://example.org/e.mp4,joy\n"
        "f.mp4,sad\n",
    )
    skipped = Skipped()
    assert [Path(ref.uri).name for ref in refs(table, skipped)] == ["a.mp4", "f.mp4"]
    reported = [str(error) for error in skipped.errors]
    assert [int(text.split("line ")[1].split(":")[0]) for text in reported] == [3, 5, 6, 7, 8]
    assert all(text.startswith(str(table)) and "\n" not in text for text in reported)
    assert "hunter2" not in "".join(reported)


def test_invalid_json_lines_are_reported(tmp_path: Path) -> None:
    lines = ['{"url": "a.mp4", "tags": ["x", "y"], "ok": true, "none": null}', "{", '"b.mp4"', '{"x": 1}']
    skipped = Skipped()
    (ref,) = refs(made(tmp_path, "table.jsonl", "\n".join(lines)), skipped)
    assert ref.labels == {"tags": '["x", "y"]', "ok": "true"}
    assert [str(error).split(": ")[0].rsplit(" ", 1)[1] for error in skipped.errors] == ["2", "3", "4"]


def test_without_skipped_first_invalid_row_is_raised(tmp_path: Path) -> None:
    table = made(tmp_path, "table.csv", "path\n\x01\n\nx,y\nb.mp4\n")
    rows = expand(str(table))
    assert [Path(next(rows).uri).name, Path(next(rows).uri).name] == ["\x01", "b.mp4"]
    with pytest.raises(UsageError, match="line 4"):
        next(rows)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("emotion,level\njoy,1\n", "its columns are emotion, level"),
        ("path,url\na,b\n", "several: path, url"),
        ("path,x,x\na,b,c\n", "several columns are named x"),
        ("path,\na,b\n", "column 2 has no name"),
        ("", "empty"),
    ],
)
def test_ambiguous_columns_are_refused(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as raised:
        refs(made(tmp_path, "table.csv", content))
    assert "\n" not in str(raised.value)


def test_column_option_selects_the_column(tmp_path: Path) -> None:
    table = made(tmp_path, "table.csv", "path,clip\nx,a.mp4\n")
    (ref,) = refs(table, column="clip")
    assert (Path(ref.uri).name, ref.labels) == ("a.mp4", {"path": "x"})
    with pytest.raises(UsageError, match="no column nothing; its columns are path, clip"):
        refs(table, column="nothing")


def test_invalid_parquet_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        refs(made(tmp_path, "table.parquet", b"PAR1 not at all"))


def test_list_skips_comments_and_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "z.mp4").touch()
    lines = "\ufeff# mine\n\nhttps://example.org/a.mp4#t=3\n  b c.mp4  \nfolder\nother.txt\nravdess:x\n"
    path = made(tmp_path, "list.txt", lines)
    skipped = Skipped()
    found = refs(path, skipped)
    assert [ref.uri for ref in found] == [
        "https://example.org/a.mp4",
        str(tmp_path / "b c.mp4"),
        str(tmp_path / "folder" / "z.mp4"),
        str(tmp_path / "ravdess:x"),
    ]
    assert {ref.query for ref in found} == {str(path)}
    (error,) = skipped.errors
    assert "line 6" in str(error) and "may not contain a list" in str(error)


def test_list_paths_may_have_any_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    (tmp_path / name).touch()
    table = made(tmp_path, "table.csv", b"path,note\ncaf\xe9.mp4,caf\xe9\n")
    (ref,) = refs(table)
    assert os.path.exists(local_path(ref.uri) or "")  # noqa: PTH110
    assert json.loads(json.dumps(ref.labels, ensure_ascii=False).encode()) == {"note": "caf?"}


def test_missing_list_is_reported(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="does not exist"):
        refs(tmp_path / "none.csv")
    (tmp_path / "films.csv").mkdir()
    (tmp_path / "films.csv" / "a.mp4").touch()
    assert [Path(ref.uri).name for ref in refs(tmp_path / "films.csv")] == ["a.mp4"]
    (remote,) = expand("https://example.org/table.csv")
    assert remote.source == "http"


@given(content=st.text(alphabet=st.sampled_from('a,"\n\r\0é '), max_size=60))
def test_any_content_is_readable(content: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = made(tmp_path_factory.getbasetemp(), "any.csv", "path,x\n" + content)
    for row in read_csv(str(path)):
        assert isinstance(row, Row)
        assert row.problem or set(row.cells) == {"path", "x"}


def test_table_is_read_row_by_row(tmp_path: Path) -> None:
    rows = 5000
    table = made(tmp_path, "table.csv", "path\n" + "".join(f"{n}.mp4\n" for n in range(rows)))
    taken = expand(str(table))
    assert Path(next(taken).uri).name == "0.mp4"
    table.write_text("")  # only what was read ahead is known now
    assert sum(1 for _ in taken) < rows - 1
