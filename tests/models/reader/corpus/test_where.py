"""Filters have Python's meaning, with SQL's nulls, and reject every other expression."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mien.ingest.errors import FilterError
from mien.models.reader.corpus.index import SAMPLES, SHARDS, Index
from mien.models.reader.corpus.where import Where

ROWS: list[dict[str, Any]] = [
    {"size": size, "language": language, "text": text, "rows": rows, "still": still}
    for size in (None, 50.5, 96.0, 120.0)
    for language in (None, "en", "de")
    for text, rows, still in ((None, None, None), ("some music", 3, True), ("words", 40, False))
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("index")
    kinds = {
        "size": pa.float32(),
        "language": pa.large_string(),
        "text": pa.large_string(),
        "rows": pa.int32(),
        "still": pa.bool_(),
    }
    columns: dict[str, Any] = {"key": pa.array([str(n) for n in range(len(ROWS))], pa.large_string())}
    columns |= {name: pa.array([row[name] for row in ROWS], kind) for name, kind in kinds.items()}
    shards = {"name": ["a"], "identity": [""], "stamp": [""], "tar_bytes": [1], "rows": [len(ROWS)]}
    for table, name in ((pa.table(columns), SAMPLES), (pa.table(shards), SHARDS)):
        with pa.OSFile(str(folder / name), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table)
    return Index(folder)


CASES: list[tuple[str, Callable[[Any, Any, Any, Any, Any], bool]]] = [
    ("size > 96 and language == 'en'", lambda s, g, t, r, q: s is not None and s > 96 and g == "en"),
    ("size >= 96 or rows < 5", lambda s, g, t, r, q: (s or 0) >= 96 or (r is not None and r < 5)),
    ("not size > 96", lambda s, g, t, r, q: s is not None and s <= 96),
    ("50 < size <= 96", lambda s, g, t, r, q: s is not None and 50 < s <= 96),
    ("96 <= size", lambda s, g, t, r, q: s is not None and s >= 96),
    ("language != 'en'", lambda s, g, t, r, q: g not in {None, "en"}),
    ("language in ('en', 'fr')", lambda s, g, t, r, q: g == "en"),
    ("language not in ['en', 'fr']", lambda s, g, t, r, q: g == "de"),
    ("not language in {'en'}", lambda s, g, t, r, q: g == "de"),
    ("rows in (3, 4.0)", lambda s, g, t, r, q: r == 3),
    ("size in (96, 120)", lambda s, g, t, r, q: s in {96, 120}),
    ("language in ()", lambda s, g, t, r, q: False),
    ("size is None", lambda s, g, t, r, q: s is None),
    ("size is not None and text is None", lambda s, g, t, r, q: s is not None and t is None),
    ("'music' in text", lambda s, g, t, r, q: "music" in (t or "")),
    ("'music' not in text", lambda s, g, t, r, q: t == "words"),
    ("still", lambda s, g, t, r, q: bool(q)),
    ("not still and rows == +40", lambda s, g, t, r, q: q is False and r == 40),
    ("rows > -1", lambda s, g, t, r, q: r is not None),
    ("size < rows", lambda s, g, t, r, q: False),
    ("key == '5'", lambda s, g, t, r, q: (s, g, t) == (None, "en", "words")),
]


@pytest.mark.parametrize(("text", "meaning"), CASES, ids=[text for text, _ in CASES])
def test_filter_agrees_with_python_except_nulls(
    index: Index, text: str, meaning: Callable[[Any, Any, Any, Any, Any], bool]
) -> None:
    selected = Where(text, index.columns).select(index)

    assert selected.dtype == np.int64
    assert selected.tolist() == [n for n, row in enumerate(ROWS) if meaning(*row.values())]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("face_siz > 3", "no column face_siz"),
        ("languag == 'en'", "did you mean language?"),
        ("size >", "invalid filter"),
        ("", "invalid filter"),
        ("size == None", "is None"),
        ("size.real > 3", "is not allowed here"),
        ("__import__('os').system('touch x')", "is not allowed here"),
        ("(lambda: 1)() == 1", "is not allowed here"),
        ("[rows for rows in (1,)] == 3", "is not allowed here"),
        ("size > 3 if rows else 4", "is not allowed here"),
        ("1 == 1", "is not allowed here"),
        ("language", "not boolean"),
        ("language > 3", "language is large_string"),
        ("rows in ('a',)", "rows is int32"),
        ("'3' in rows", "rows is int32"),
        ("rows == 99999999999999999999", "rows is int32"),
        ("rows in (1, 99999999999999999999)", "rows is int32"),
        ("not " * 3000 + "still", "invalid filter"),
        ("(" * 3000 + "still" + ")" * 3000, "invalid filter"),
        ("still\0", "invalid filter"),
        ("size := 3", "invalid filter"),
    ],
)
def test_invalid_filter_gives_one_line_error(index: Index, text: str, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        Where(text, index.columns).select(index)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800


def test_filters_cannot_use_place_columns(tmp_path: Path, index: Index) -> None:
    assert index.columns == ["key", "size", "language", "text", "rows", "still"]
