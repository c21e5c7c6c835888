"""Upgrades catalogs of older versions in place, inside the transaction that opens the catalog."""

from __future__ import annotations

import math
import time

from sqlalchemy import Column, Connection, Table, func, insert, inspect, select, update
from sqlalchemy.schema import CreateColumn, CreateIndex

from mien.ingest.catalog import counters, schema
from mien.ingest.errors import CatalogError

OLDEST = 1
ONLY_PLATFORM = "youtube"
"""Up to version 2 there was one platform, and budgets and circuits were stored per identity alone."""


def upgrade(connection: Connection, found: int) -> int:
    """Returns the version after the upgrade; catalogs that are too old or newer are left as they are."""
    if not OLDEST <= found < schema.VERSION:
        return found
    _refuse_live_runs(connection)
    connection.exec_driver_sql("ALTER TABLE tallies RENAME TO run_counters")
    if found == 2:
        _per_platform(connection)
    schema.metadata.create_all(connection)
    for table in schema.metadata.sorted_tables:
        existing = _column_names(connection, table)
        for column in table.columns:
            if column.name not in existing:
                _add_column(connection, table.name, column)
        for index in table.indexes:
            connection.execute(CreateIndex(index, if_not_exists=True))
    if found == 1:
        connection.exec_driver_sql("DROP INDEX IF EXISTS videos_queue")  # replaced by videos_claim
        _count_media(connection)
    connection.execute(update(schema.schema_version).values(version=schema.VERSION))
    return schema.VERSION


def _refuse_live_runs(connection: Connection) -> None:
    """A run of the older mien would fail in the middle of its work, because its tables are gone."""
    now = time.time()
    live = connection.execute(
        select(schema.runs.c.id, schema.runs.c.host, schema.runs.c.lease_until)
        .where(schema.runs.c.outcome.is_(None), schema.runs.c.lease_until > now)
        .limit(1)
    ).first()
    if live is not None:
        raise CatalogError(
            f"run {live.id} of an older mien on {live.host} uses this catalog, which must be upgraded; stop "
            f"that run, or wait {math.ceil(live.lease_until - now)} s for its lease to expire, and rerun"
        )


def _per_platform(connection: Connection) -> None:
    """Version 2 to 3: budgets, circuits and queues are stored per platform; several names are new."""
    execute = connection.exec_driver_sql
    for index in ("videos_turn", "videos_governed", "grants_window"):
        execute(f"DROP INDEX {index}")
    execute("ALTER TABLE videos RENAME COLUMN wanted_json TO filters_json")
    _add_column(connection, "videos", schema.videos.c.rate_limited_source)
    execute("UPDATE videos SET rate_limited_source = source WHERE governed")
    execute("ALTER TABLE videos DROP COLUMN governed")
    execute(f"ALTER TABLE grants ADD COLUMN platform VARCHAR DEFAULT '{ONLY_PLATFORM}' NOT NULL")
    # The primary key changes, which SQLite cannot do in place. The table has one row per identity.
    rows = [dict(row) for row in execute("SELECT * FROM egress").mappings()]
    execute("DROP TABLE egress")
    schema.egress.create(connection)
    if rows:
        connection.execute(insert(schema.egress), [row | {"platform": ONLY_PLATFORM} for row in rows])
    last = connection.exec_driver_sql("SELECT value FROM cursors").scalars().all()
    execute("DROP TABLE cursors")
    schema.round_robin.create(connection)
    if last:
        connection.execute(insert(schema.round_robin), {"platform": ONLY_PLATFORM, "queue_key": last[0]})


def _column_names(connection: Connection, table: Table) -> set[str]:
    return {column["name"] for column in inspect(connection).get_columns(table.name)}


def _add_column(connection: Connection, table: str, column: Column[object]) -> None:
    """A column that is not nullable needs a default for the existing rows."""
    definition = CreateColumn(column).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {definition}")


def _count_media(connection: Connection) -> None:
    """Version 1 stored media without counting them."""
    media = schema.media
    totals = select(func.count().label("files"), func.coalesce(func.sum(media.c.bytes), 0).label("size"))
    row = connection.execute(totals.select_from(media)).one()
    sums = {counters.FETCHED: float(row.files), counters.FETCHED_BYTES: float(row.size)}
    connection.execute(
        insert(schema.run_counters),
        [{"run_id": counters.NOBODY, "name": name, "value": value} for name, value in sums.items()],
    )
