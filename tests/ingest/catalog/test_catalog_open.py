"""Errors of opening a catalog are one line and contain no password."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection

from mien.ingest.catalog import Catalog
from mien.ingest.catalog.database import Database
from mien.ingest.errors import CatalogError
from tests.ingest.catalog.makers import ref
from tests.postgres import PASSWORD


def refused(url: str) -> str:
    with pytest.raises(CatalogError) as caught:
        Catalog.open(url)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_catalog_persists_across_processes(url: str) -> None:
    with Catalog.open(url) as first:
        first.add([ref("a")])
    with Catalog.open(url) as second:
        assert second.add([ref("a")]).known == ["folder-a"]


def test_other_schema_is_refused(url: str, change: Callable[[str], None]) -> None:
    Catalog.open(url).close()
    change("UPDATE mien_schema SET version = 99")
    assert "schema 99" in refused(url)
    change("DELETE FROM mien_schema")
    assert "unknown" in refused(url)


def test_foreign_tables_are_not_changed(url: str, change: Callable[[str], None]) -> None:
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True)
    change("CREATE TABLE videos (title TEXT)")
    assert "something else" in refused(url)


@pytest.fixture
def change(url: str) -> Callable[[str], None]:
    """Runs one statement directly in the database."""

    def run(statement: str) -> None:
        if url.startswith("sqlite"):
            with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
                connection.execute(statement)
            connection.close()
            return
        import psycopg

        with psycopg.connect(url) as server:
            server.execute(statement.encode())

    return run


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "catalog.db",
        "mysql://someone:swordfish@host/database",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://someone:swordfish@host",
        "postgresql://someone:swordfish@host:port/database",
        "postgresql://someone:sword@swordfish@host/database",
        "postgresql://someone:swordfish@127.0.0.1:1/database",
        "postgresql://127.0.0.1:1/database?password=swordfish",
        "postgresql://someone:swordfish@127.0.0.1:1/database?nonsense=1",
    ],
)
def test_bad_url_error_hides_password(url: str) -> None:
    message = refused(url)
    assert "swordfish" not in message
    assert "sqlite:////" in message or "check" in message or "%40" in message


def test_wrong_password_error_hides_password(postgres_url: str) -> None:
    message = refused(postgres_url.replace(PASSWORD, "wrong%2Fword"))
    assert "authentication failed" in message
    assert not re.search("wrong.{0,3}word", message)


def test_non_database_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    path.write_bytes(b"this is not a database, and never was" * 100)
    assert "not a database" in refused(f"sqlite:///{path}")
    (tmp_path / "file").touch()
    assert "folder" in refused(f"sqlite:///{tmp_path}/file/below/catalog.db")


def test_missing_psycopg_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError('no psycopg here')\n")
    code = "from mien.ingest.catalog import Catalog; Catalog.open('postgresql://h/d')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(os.environ, PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "pip install 'mien[postgres]'" in done.stderr.splitlines()[-1]


def test_full_disk_error_says_what_to_do(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/catalog.db")
    database.prepare()

    def fill(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # makes SQLite report a full disk
        connection.exec_driver_sql("CREATE TABLE more (text)")

    with pytest.raises(CatalogError, match="database or disk is full; free disk space"):
        database.write(fill)
    database.close()


def test_sqlite_uses_wal_and_creates_folder(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "catalog.db"
    Catalog.open(f"sqlite:///{path}").close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
