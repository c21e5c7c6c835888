"""A catalog of an older version is migrated."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from mien.ingest.catalog import Catalog, MediaRecord
from mien.ingest.errors import CatalogError
from tests.ingest.catalog.makers import begin, ref
from tests.ingest.catalog.platforms import A, ask, tubes

NEW_TABLES = ("egress", "grants", "round_robin", "contents")
NEW_INDEXES = ("videos_claim", "videos_rate_limited")
NEW_COLUMNS = ("rate_limited_source", "media_uri", "filters_json")


@pytest.fixture
def behind(url: str) -> Callable[[str], None]:
    """Runs statements directly in the database."""

    def run(statements: str) -> None:
        if url.startswith("sqlite"):
            connection = sqlite3.connect(url.removeprefix("sqlite:///"))
            connection.executescript(statements)
            connection.close()
            return
        import psycopg

        with psycopg.connect(url, autocommit=True) as server:
            server.execute(statements.encode())

    return run


def as_version_1() -> str:
    statements = [f"DROP TABLE IF EXISTS {table}" for table in NEW_TABLES]
    statements += [f"DROP INDEX {index}" for index in NEW_INDEXES]
    statements += [f"ALTER TABLE videos DROP COLUMN {column}" for column in NEW_COLUMNS]
    statements += ["CREATE INDEX videos_queue ON videos (state, fingerprint, next_try_at, seq)"]
    statements += [
        "ALTER TABLE run_counters RENAME TO tallies",
        "DELETE FROM tallies WHERE name LIKE 'fetched%'",
        "UPDATE mien_schema SET version = 1",
    ]
    return ";\n".join(statements) + ";\n"


def test_first_version_is_migrated_without_loss(url: str, behind: Callable[[str], None]) -> None:
    with Catalog.open(url) as old:
        old.add([ref("a", query="q"), ref("b")])
        run_id = begin(old)
        old.claim(run_id, limit=1)
        old.record_media(run_id, "folder-a", MediaRecord(sha256="0", bytes=77, duration_seconds=9.0))
        old.end_run(run_id, "ended")
    behind(as_version_1())
    for _ in range(2):  # a migrated catalog opens like any other
        with Catalog.open(url) as catalog:
            assert catalog.status().videos["waiting"] == 2
    with Catalog.open(url) as catalog:
        status = catalog.status()
        assert (status.fetched, status.fetched_bytes) == (1, 77)
        assert [job.key for job in catalog.claim(begin(catalog), limit=9)] == ["folder-a", "folder-b"]
        catalog.add(tubes(1))
        assert len(ask(catalog, begin(catalog), [A])) == 1


@pytest.mark.parametrize("version", [0, 99])
def test_unknown_version_is_refused_unchanged(url: str, behind: Callable[[str], None], version: int) -> None:
    Catalog.open(url).close()
    behind(f"UPDATE mien_schema SET version = {version};")  # noqa: S608
    for _ in range(2):
        with pytest.raises(CatalogError, match=f"schema {version}, but this version") as caught:
            Catalog.open(url)
        assert "\n" not in str(caught.value)
