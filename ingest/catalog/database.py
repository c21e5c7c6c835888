"""Connections, transactions, and one-line errors.

SQLite runs in WAL mode. A killed process loses nothing that was committed. A power failure may lose the last
transactions (`synchronous=NORMAL`), which restores an earlier state of the catalog: tars without a row are
deleted and their segments are redone. Commits that readers may have seen (of a shard and of its sidecar) use
`synchronous=FULL`. There is only one log, so they also sync everything before them.
WAL needs shared memory: store the file on a local disk, and use PostgreSQL for several machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from mien.ingest.catalog import migrate, schema
from mien.ingest.catalog.transaction_retry import TransactionPhase, TransactionRetry
from mien.ingest.errors import CatalogError, one_line

T = TypeVar("T")

SQLITE_BUSY_SECONDS = 60
POSTGRES_CONNECT_SECONDS = 10
PATIENCE_SECONDS = 5.0
"""How long commands wait for an unreachable server. Runs wait longer."""
_LOCKED_DELAYS_SECONDS = (0.1, 0.3, 1.0, 3.0)
_SCHEMA_LOCK = 0x6D69656E  # "mien": the advisory lock of all processes that create the tables
_EXAMPLES = "write sqlite:////absolute/path.db or postgresql://user:password@host/database"


class Database:
    """Runs functions as transactions. Raises CatalogError for every error of the database."""

    def __init__(self, url: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """`patience_seconds`: how long to wait for a server that becomes unreachable after it was reached."""
        parsed = _parse(url)
        self.name = _describe(parsed)
        self._secrets = _secrets(parsed)
        self._engine = self._create(parsed)
        self._writer = self._engine.execution_options(mien_begin="BEGIN IMMEDIATE", mien_synchronous="NORMAL")
        self._durable = self._engine.execution_options(mien_begin="BEGIN IMMEDIATE", mien_synchronous="FULL")
        self._patience_seconds = patience_seconds
        self._was_there = False
        self.on_return: Callable[[], None] | None = None
        """Called when an unreachable server answers again, before the waiting transaction returns."""

    def write(self, work: Callable[[Connection], T], *, durable: bool = False) -> T:
        """Runs `work` in one transaction. May call it again if the database asks for a retry."""
        return self._run(self._durable if durable else self._writer, lambda connection, _: work(connection))

    def repeat(self, work: Callable[[Connection], T], *, durable: bool = False) -> T:
        """Like `write`, for idempotent work. If the connection is lost during the commit, so that its outcome
        is unknown, the work is repeated."""
        return self.once(lambda connection, _: work(connection), durable=durable)

    def once(self, work: Callable[[Connection, bool], T], *, durable: bool = False) -> T:
        """Like `repeat`, for work that is not idempotent: `work` gets a flag that says whether it may have
        been committed. It must first lock a row that the first try locked, so that a commit in progress ends
        before it reads."""
        return self._run(self._durable if durable else self._writer, work, repeatable=True)

    def read(self, work: Callable[[Connection], T]) -> T:
        return self._run(self._engine, lambda connection, _: work(connection), repeatable=True)

    def close(self) -> None:
        self._engine.dispose()

    def prepare(self) -> None:
        """Creates the tables if there are none. Closes itself and raises CatalogError for another schema."""
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        if self._engine.dialect.name == "sqlite":
            self._use_wal()
        found = self.write(_create_or_read_version)
        self._was_there = True
        if found != schema.VERSION:
            raise CatalogError(
                f"the catalog {self.name} has schema {found}, but this version of mien reads schema "
                f"{schema.VERSION}; use the version that wrote it, or another catalog"
            )

    def _run(self, engine: Engine, work: Callable[[Connection, bool], T], *, repeatable: bool = False) -> T:
        attempt = TransactionRetry(
            patience_seconds=self._patience_seconds,
            repeatable=repeatable,
            is_server=self._was_there and engine.dialect.name != "sqlite",
        )

        def once() -> T:
            attempt.phase = TransactionPhase.CONNECTING
            with engine.connect() as connection:
                attempt.phase = TransactionPhase.WORKING
                transaction = connection.begin()
                result = work(connection, attempt.in_doubt)
                attempt.phase = TransactionPhase.COMMITTING
                transaction.commit()
                return result

        try:
            result = attempt.retrying()(once)
        except SQLAlchemyError as error:
            raise self._error(error) from error
        if attempt.was_away and self.on_return is not None:
            self.on_return()
        return result

    def _error(self, error: Exception) -> CatalogError:
        reason = str(error.orig) if isinstance(error, DBAPIError) and error.orig is not None else str(error)
        for secret in self._secrets:
            reason = reason.replace(secret, "***")
        is_full = any(word in reason.lower() for word in ("disk is full", "no space left"))
        cure = "free disk space" if is_full else "check that it is running, reachable and writable"
        return CatalogError(f"the catalog {self.name} refused: {one_line(reason, 300)}; {cure}")

    def _create(self, url: URL) -> Engine:
        if url.get_backend_name() == "sqlite":
            parent = Path(str(url.database)).parent
            try:
                parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CatalogError(
                    f"the catalog {self.name} cannot be created: {error.strerror}; choose another folder"
                ) from error
            engine = create_engine(url, connect_args={"timeout": SQLITE_BUSY_SECONDS})
            event.listen(engine, "connect", _take_over_transactions)
            event.listen(engine, "begin", _begin)
            return engine
        try:
            return create_engine(
                url, pool_pre_ping=True, connect_args={"connect_timeout": POSTGRES_CONNECT_SECONDS}
            )
        except ImportError as error:
            raise CatalogError(
                "a catalog in PostgreSQL needs psycopg, which is not installed; "
                "run: pip install 'mien[postgres]'"
            ) from error

    def _use_wal(self) -> None:
        """Switching needs exclusive access and does not wait for it, so two first users can collide here."""
        bare = self._engine.execution_options(mien_begin="")  # no transaction may be open
        for delay_seconds in (*_LOCKED_DELAYS_SECONDS, None):
            try:
                with bare.connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                    return
            except SQLAlchemyError as error:
                if delay_seconds is None or "locked" not in str(error):
                    raise self._error(error) from error
                time.sleep(delay_seconds)


def _parse(url: str) -> URL:
    """Never prints what it was given: a URL that cannot be parsed has its password somewhere."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise CatalogError(f"the catalog's URL has no scheme; {_EXAMPLES}")
    if scheme not in ("sqlite", "postgres", "postgresql", "postgresql+psycopg"):
        raise CatalogError(
            f"the catalog's URL has an unknown scheme; got {one_line(scheme, 30)}://; {_EXAMPLES}"
        )
    if rest.partition("?")[0].count("@") > 1 and scheme != "sqlite":
        raise CatalogError("the catalog's URL has more than one @; write %40 for an @ inside the password")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise CatalogError(f"the catalog's URL cannot be read as {scheme}://…; {_EXAMPLES}") from error
    if scheme == "sqlite":
        if not parsed.database or parsed.database == ":memory:" or parsed.host:
            raise CatalogError(f"a catalog in SQLite needs a file, to outlive the process; {_EXAMPLES}")
        return parsed
    if not parsed.database:
        raise CatalogError(f"the catalog's URL names no database; {_EXAMPLES}")
    return parsed.set(drivername="postgresql+psycopg")


def _describe(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{url.host or ''}{port}/{url.database}"


def _secrets(url: URL) -> tuple[str, ...]:
    values = [str(url.password or "")]
    for name, value in url.query.items():
        if "password" in name:
            values += [value] if isinstance(value, str) else value
    plain = [value for value in values if value]
    return tuple(sorted({*plain, *(quote(value, safe="") for value in plain)}, key=len, reverse=True))


def _take_over_transactions(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late to protect what was read before


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    level, current = options.get("mien_synchronous"), connection.info
    if level and current.get("mien_synchronous") != level:
        connection.exec_driver_sql(f"PRAGMA synchronous={level}")
        current["mien_synchronous"] = level
    if begin := options.get("mien_begin", "BEGIN"):
        connection.exec_driver_sql(begin)


def _create_or_read_version(connection: Connection) -> int | str:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SCHEMA_LOCK})
    tables = set(inspect(connection).get_table_names())
    if schema.schema_version.name in tables:
        versions = connection.scalars(select(schema.schema_version.c.version)).all()
        return migrate.upgrade(connection, versions[0]) if len(versions) == 1 else "unknown"
    if tables & set(schema.metadata.tables):
        return "of something else"
    schema.metadata.create_all(connection)
    connection.execute(insert(schema.schema_version), {"version": schema.VERSION})
    return schema.VERSION
