"""Every catalog test runs on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from mien.ingest.catalog import Catalog
from tests.ingest.catalog.makers import Clock
from tests.postgres import running_postgres

_schemas = count()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Returns the URL of a new empty catalog."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path}/folder/catalog-{next(_schemas)}.db"
    server: str = request.getfixturevalue("postgres_url")

    def new_schema() -> str:
        import psycopg

        name = f"test{next(_schemas)}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{server}?options=-csearch_path%3D{name}"

    return new_schema


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    return new_url()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(url: str, clock: Clock) -> Iterator[Catalog]:
    with Catalog.open(url, clock=clock) as opened:
        yield opened
